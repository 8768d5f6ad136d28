package filter

import "github.com/hauberk-mesh/hauberk/dataplane/http/message"

// Outcome is what a chain said. All are nil where no filter had anything to say.
type Outcome struct {
	Final   *Verdict // ends the request: it refuses, or it answers
	Allowed *Verdict // the last rule that let it pass
	Shadow  *Verdict // the last rule that would have refused it
}

// RunHTTP asks the filters in order, until one ends the request.
func RunHTTP(chain []HTTP, c *Conn, r *message.Request) (o Outcome) {
	for _, f := range chain {
		if o.take(f.Request(c, r)) {
			break
		}
	}
	return o
}

// RunNetwork asks the filters of a connection in the same way.
func RunNetwork(chain []Network, c *Conn) (o Outcome) {
	for _, f := range chain {
		if o.take(f.Connection(c)) {
			break
		}
	}
	return o
}

// take files a verdict and tells whether it is the last word.
func (o *Outcome) take(v *Verdict) (final bool) {
	switch {
	case v == nil:
	case v.Refuse || v.Answer:
		o.Final = v
	case v.Shadow:
		o.Shadow = v
	default:
		o.Allowed = v
	}
	return o.Final != nil
}
