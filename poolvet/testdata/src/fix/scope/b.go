package scope

func pool() {}

var _ = pool
