//go:build !unix

package pool

func interrupt() {}
