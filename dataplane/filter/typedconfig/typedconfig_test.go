package typedconfig

import (
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

func TestOnly(t *testing.T) {
	exact := &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: "a"}, IgnoreCase: true}
	newer := &matcherv3.StringMatcher{}
	newer.ProtoReflect().SetUnknown(protowire.AppendTag(nil, 1000, protowire.VarintType))
	for _, c := range []struct {
		m     proto.Message
		path  string
		names []string
		want  string
	}{
		{exact, "f", []string{"exact", "ignore_case"}, ""},
		{exact, "f", []string{"prefix"}, "f.exact: is not honoured"},
		{exact, "", []string{"exact"}, "ignore_case: is not honoured"},
		{&matcherv3.StringMatcher{}, "f", nil, ""},
		{(*matcherv3.StringMatcher)(nil), "f", nil, "f: is not set"},
		{newer, "f", nil, "f: holds a field that this version does not know"},
		{newer, "", nil, "holds a field that this version does not know"},
	} {
		got := ""
		if err := Only(c.m, c.path, c.names...); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%v at %q, only %v: %q, want %q", c.m, c.path, c.names, got, c.want)
		}
	}
}
