// The linknamed functions of own_runtime.go and own_getm.go have no body in this package. The compiler
// accepts that only where an assembly file is present; this one is it.
