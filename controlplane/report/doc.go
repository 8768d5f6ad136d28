// Package report is what proxies tell the control plane about traffic: who talks to whom, what was refused, what a proxy
// decided on one request, whether applications answer, where it keeps its keys, and who leaves.
//
// It keeps the last minute and the sums since the control plane's start in memory, bounded, one mesh apart from the
// others, and nothing on disk: it is not a metrics store. What a proxy says about itself is overruled by its certificate.
//
// Start at Server.Report; queries are in edges.go and decisions.go.
package report
