package filter

import "github.com/hauberk-mesh/hauberk/dataplane/http/message"

// RunHTTP asks the filters in order. final is the verdict that ends the request (it refuses, or it answers), nil if all let
// it pass; shadow is the last verdict that was only noted.
func RunHTTP(chain []HTTP, c *Conn, r *message.Request) (final, shadow *Verdict) {
	for _, f := range chain {
		v := f.Request(c, r)
		switch {
		case v == nil:
		case v.Refuse || v.Answer:
			return v, shadow
		default:
			shadow = v
		}
	}
	return nil, shadow
}

// RunNetwork asks the filters of a connection in the same way.
func RunNetwork(chain []Network, c *Conn) (final, shadow *Verdict) {
	for _, f := range chain {
		v := f.Connection(c)
		switch {
		case v == nil:
		case v.Refuse || v.Answer:
			return v, shadow
		default:
			shadow = v
		}
	}
	return nil, shadow
}
