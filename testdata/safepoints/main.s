// The linknamed functions of main.go have no body. The compiler accepts that only where an assembly file
// is present; this one is it.
