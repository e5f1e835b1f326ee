package pooluse
import ("golang.org/x/tools/go/analysis")
// Analyzer is.
var Analyzer = &analysis.Analyzer{Name:"pooluse",Doc:"x",Run:func(*analysis.Pass)(any,error){return nil,nil}}
