// Command hauberk is a service mesh: control plane, data plane and command line in one binary.
package main

import (
	"os"

	"github.com/hauberk-mesh/hauberk/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
