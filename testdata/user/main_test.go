package main

import (
	"encoding/json"
	"os"
	"testing"
)

// A report is what FuzzUse appends to the file that POOL_TEST_REPORT names, in each process that runs it.
type report struct {
	Args   []string
	Access string
}

func FuzzUse(f *testing.F) {
	tell := func() {
		line, err := json.Marshal(report{os.Args, use()})
		if err != nil {
			f.Fatal(err)
		}
		w, err := os.OpenFile(os.Getenv("POOL_TEST_REPORT"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			f.Fatal(err)
		}
		if _, err := w.Write(append(line, '\n')); err != nil {
			f.Fatal(err)
		}
		if err := w.Close(); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(byte(1))
	tell()
	f.Fuzz(func(*testing.T, byte) { tell() })
}
