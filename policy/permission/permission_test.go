package permission_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hauberk-mesh/hauberk/controlplane/ir"
	"github.com/hauberk-mesh/hauberk/policy/permission"
	"github.com/hauberk-mesh/hauberk/policy/policytest"
)

func TestCases(t *testing.T) {
	policytest.Run(t, policytest.Suite{Policy: permission.Policy{}, View: view, Call: call})
}

func view(p *ir.Proxy) any {
	out := map[string]*ir.Permission{}
	for _, in := range p.Inbounds {
		out[in.Name] = in.Permission
	}
	return out
}

// call reads "<inbound> <caller or anonymous> [<method> <path>]".
func call(p *ir.Proxy, line string) string {
	words := strings.Fields(line)
	c := permission.Call{PeerID: words[1]}
	if c.PeerID == "anonymous" {
		c.PeerID = ""
	}
	if len(words) == 4 {
		c.HTTP, c.Method, c.Path = true, words[2], words[3]
	}
	for _, in := range p.Inbounds {
		if in.PortName != words[0] {
			continue
		}
		r := permission.Evaluate(in.Permission, c)
		out := fmt.Sprintf("%s by %s %s", map[bool]string{true: "allowed", false: "denied"}[r.Allowed], r.Policy, r.Rule)
		if r.Shadow != "" {
			out += ", shadow " + r.Shadow
		}
		return strings.TrimSpace(out)
	}
	return "no such inbound"
}
