// Package zebra is imported.
package zebra

// Name is empty.
const Name = ""
