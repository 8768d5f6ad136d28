package xdsclient

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"
)

// The kept form of a State is
//
//	magic      8 bytes   "hauberkX"
//	format     1 byte    2
//	checksum  32 bytes   SHA-256 of all that follows
//	generation uvarint
//	node       uvarint length, then as many bytes
//	then, for each type that has resources, sorted by URL:
//	  length   uvarint
//	  message  a DeltaDiscoveryResponse with type_url and resources, sorted by name
//
// The checksum finds files that were cut short or went bad. It does not protect against somebody who can write the file:
// the directory's mode does.
const (
	snapshotMagic  = "hauberkX"
	snapshotFormat = 2
)

// Marshal returns the state as bytes. Equal states have equal bytes.
func (s *State) Marshal() []byte {
	body := binary.AppendUvarint(nil, s.Generation)
	body = binary.AppendUvarint(body, uint64(len(s.Node)))
	body = append(body, s.Node...)
	for _, typeURL := range sortedKeys(s.Resources) {
		if len(s.Resources[typeURL]) == 0 {
			continue
		}
		m := &discovery.DeltaDiscoveryResponse{TypeUrl: typeURL, SystemVersionInfo: strconv.FormatUint(s.Generation, 10)}
		for _, name := range sortedKeys(s.Resources[typeURL]) {
			m.Resources = append(m.Resources, &discovery.Resource{
				Name: name, Version: s.Versions[typeURL][name], Resource: s.Resources[typeURL][name],
			})
		}
		// A message that came over the wire or was read by Restore can be written again: its strings are valid UTF-8.
		b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		if err != nil {
			panic("xdsclient: a state that was taken cannot be marshalled: " + err.Error())
		}
		body = binary.AppendUvarint(body, uint64(len(b)))
		body = append(body, b...)
	}
	sum := sha256.Sum256(body)
	out := make([]byte, 0, len(snapshotMagic)+1+len(sum)+len(body))
	out = append(out, snapshotMagic...)
	out = append(out, snapshotFormat)
	out = append(out, sum[:]...)
	return append(out, body...)
}

// Restore reads what Marshal wrote.
func Restore(b []byte) (*State, error) {
	rest, ok := bytes.CutPrefix(b, []byte(snapshotMagic))
	if !ok {
		return nil, errors.New("kept configuration: not a file of this program")
	}
	if len(rest) < 1+sha256.Size {
		return nil, errors.New("kept configuration: cut short")
	}
	if rest[0] != snapshotFormat {
		return nil, fmt.Errorf("kept configuration: has format %d, this version reads %d", rest[0], snapshotFormat)
	}
	body := rest[1+sha256.Size:]
	if sum := sha256.Sum256(body); !bytes.Equal(sum[:], rest[1:1+sha256.Size]) {
		return nil, errors.New("kept configuration: the checksum is wrong, so the file is damaged")
	}
	return readBody(body)
}

func readBody(body []byte) (*State, error) {
	generation, n := binary.Uvarint(body)
	if n <= 0 {
		return nil, errors.New("kept configuration: no generation")
	}
	node, body, err := field(body[n:])
	if err != nil {
		return nil, err
	}
	e := newState().edit(generation)
	e.next.Node = string(node)
	for len(body) > 0 {
		var message []byte
		if message, body, err = field(body); err != nil {
			return nil, err
		}
		var m discovery.DeltaDiscoveryResponse
		if err := proto.Unmarshal(message, &m); err != nil {
			return nil, fmt.Errorf("kept configuration: %w", err)
		}
		if err := checkResponse(&m); err != nil {
			return nil, fmt.Errorf("kept configuration: %w", err)
		}
		if !slices.Contains(Types(), m.GetTypeUrl()) {
			continue // kept by another version, which knew more types
		}
		for _, r := range m.GetResources() {
			e.put(m.GetTypeUrl(), r.GetName(), r.GetVersion(), r.GetResource())
		}
	}
	s, _ := e.done()
	return s, nil
}

// field cuts off what begins with its length.
func field(body []byte) (value, rest []byte, err error) {
	size, n := binary.Uvarint(body)
	if n <= 0 || size > uint64(len(body)-n) {
		return nil, nil, errors.New("kept configuration: a part is longer than the file")
	}
	end := n + int(size)
	return body[n:end], body[end:], nil
}
