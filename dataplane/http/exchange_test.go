package http

import (
	"context"
	"reflect"
	"testing"
	"time"
	"unsafe"

	"github.com/hauberk-mesh/hauberk/dataplane/filter"
	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
	"github.com/hauberk-mesh/hauberk/dataplane/route"
	"github.com/hauberk-mesh/hauberk/dataplane/upstream"
)

// Whatever one request has left in an exchange, the next one does not find it.
func TestExchangeForgets(t *testing.T) {
	c := &Conn{}
	x := new(exchange)
	x.Conn = c
	dirty(reflect.ValueOf(x).Elem())
	x.Conn, x.up, x.first, x.upload.running, x.joined, x.retrying = c, upstream.Stream{}, nil, false, false, false // what free would end
	x.req, x.spec, x.route, x.cluster = &message.Request{}, &Spec{}, &route.Route{}, &upstream.Cluster{}
	x.last, x.tried, x.cause = &upstream.Endpoint{}, []*upstream.Endpoint{{}}, &reasonBad
	x.denied, x.ctx = &filter.Verdict{}, context.Background()
	x.resp.Header.Add("a", "b")
	x.asked.Header.Add("a", "b")
	x.free()

	x.rec.Start = time.Time{} // newExchange makes the record anew
	kept := map[string]bool{"rec": true, "now": true, "sent": true, "mu": true, "onGone": true}
	v := reflect.ValueOf(x).Elem()
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		if kept[name] {
			continue // set before it is read
		}
		left(t, name, v.Field(i))
	}
}

// dirty sets every flag, number and string to something.
func dirty(v reflect.Value) {
	v = reflect.NewAt(v.Type(), unsafe.Pointer(v.UnsafeAddr())).Elem() // unexported ones too
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(7)
	case reflect.String:
		v.SetString("left")
	case reflect.Struct:
		if v.Type().PkgPath() == "sync" {
			return
		}
		for i := range v.NumField() {
			dirty(v.Field(i))
		}
	}
}

// left complains about what is not zero; the memory of slices may stay, but for pointers in it.
func left(t *testing.T, name string, v reflect.Value) {
	switch v.Kind() {
	case reflect.Slice:
		if v.Len() > 0 {
			t.Errorf("%s holds %d", name, v.Len())
		}
		for i := range v.Cap() { // what an endpoint holds must not be held on to
			if e := v.Slice3(0, v.Cap(), v.Cap()).Index(i); e.Kind() == reflect.Pointer {
				left(t, name+"[]", e)
			}
		}
	case reflect.Struct:
		if v.Type().PkgPath() == "sync" {
			return
		}
		for i := range v.NumField() {
			left(t, name+"."+v.Type().Field(i).Name, v.Field(i))
		}
	default:
		if !v.IsZero() {
			t.Errorf("%s is %v", name, v)
		}
	}
}
