package refused

func init() { elsewhere.Put(new(T)) }
