// Package ant is imported.
package ant

// Name is empty.
const Name = ""
