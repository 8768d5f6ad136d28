package http

import (
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"strings"
)

// WebSocket proves by a key and its answer that both ends mean it (RFC 6455, 4.2.2). HTTP/2 has neither (RFC 8441, 5.1), since
// :protocol says it: where one side of the proxy speaks HTTP/1 and the other does not, they are made up here.
const (
	wsKey    = "sec-websocket-key"
	wsAccept = "sec-websocket-accept"
	wsGUID   = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
)

// offerKey gives the request the key that a server of HTTP/1 asks for, if it came without one.
func (x *exchange) offerKey() {
	if x.req.Upgrade != "websocket" || x.req.Header.Has(wsKey) {
		return
	}
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // never fails
	x.req.Header.Add(wsKey, base64.StdEncoding.EncodeToString(nonce[:]))
}

// acceptKey gives a client of HTTP/1 the answer to its key that a server of HTTP/2 does not send.
func (x *exchange) acceptKey() {
	key := x.req.Header.Get(wsKey)
	if x.req.Upgrade != "websocket" || key == "" || x.resp.Header.Has(wsAccept) {
		return
	}
	sum := sha1.Sum([]byte(strings.TrimSpace(key) + wsGUID))
	x.resp.Header.Add(wsAccept, base64.StdEncoding.EncodeToString(sum[:]))
}
