package group

func more() string {
	b := fourth.Get().(*[4]byte)
	n := len(b)
	fourth.Put(b)
	return "!"[:n/4]
}
