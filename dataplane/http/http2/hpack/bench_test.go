package hpack

import (
	"bytes"
	"testing"

	oracle "golang.org/x/net/http2/hpack"
)

// request is what a sidecar sends on, :path and x-request-id left out.
var request = []pair{
	{":method", "GET"}, {":scheme", "https"}, {":authority", "orders.mesh:8080"},
	{"user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0"},
	{"accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"},
	{"accept-language", "en-US,en;q=0.5"}, {"x-forwarded-proto", "https"}, {"content-type", "application/json"},
}

var (
	benchPaths = [...]string{"/api/orders/10045/items", "/api/orders/22187/items", "/api/orders/31809/items", "/api/orders/499/items"}
	benchIDs   = [...]string{"5b1c8a52-9ffb-4c5b-8d3e-0f6a3a2f7d11", "f47ac10b-58cc-4372-a567-0e02b2c3d479"}
)

// path is another one for so many requests that most are not in the table.
func path(b []byte, i int) []byte {
	b = append(b[:0], benchPaths[i%len(benchPaths)]...)
	for n := i; n > 0; n /= 10 {
		b = append(b, byte('0'+n%10))
	}
	return b
}

func BenchmarkEncode(b *testing.B) {
	for _, huffman := range []bool{false, true} {
		name := "plain"
		if huffman {
			name = "huffman"
		}
		b.Run(name, func(b *testing.B) {
			e := NewEncoder(4096)
			e.Huffman = huffman
			var buf, p []byte
			n := 0
			b.ReportAllocs()
			for i := range b.N {
				p = path(p, i)
				buf = e.Begin(buf[:0])
				buf = e.Append(buf, ":path", string(p))
				for _, f := range request {
					buf = e.Append(buf, f.name, f.value)
				}
				buf = e.Append(buf, "x-request-id", benchIDs[i&1])
				n += len(buf)
			}
			b.ReportMetric(float64(n)/float64(b.N), "wire-B/op")
		})
	}
	b.Run("x-net", func(b *testing.B) {
		var out bytes.Buffer
		e := oracle.NewEncoder(&out)
		var p []byte
		n := 0
		b.ReportAllocs()
		for i := range b.N {
			p = path(p, i)
			out.Reset()
			e.WriteField(oracle.HeaderField{Name: ":path", Value: string(p)})
			for _, f := range request {
				e.WriteField(oracle.HeaderField{Name: f.name, Value: f.value})
			}
			e.WriteField(oracle.HeaderField{Name: "x-request-id", Value: benchIDs[i&1]})
			n += out.Len()
		}
		b.ReportMetric(float64(n)/float64(b.N), "wire-B/op")
	})
}

func BenchmarkDecode(b *testing.B) {
	blocks := func(huffman bool) [][]byte {
		e := NewEncoder(4096)
		e.Huffman = huffman
		var list [][]byte
		for i := range 64 {
			block := e.Append(e.Begin(nil), ":path", string(path(nil, 1000+i)))
			for _, f := range request {
				block = e.Append(block, f.name, f.value)
			}
			list = append(list, e.Append(block, "x-request-id", benchIDs[i&1]))
		}
		return list
	}
	run := func(name string, huffman bool, start func(b *testing.B) func([]byte) error) {
		b.Run(name, func(b *testing.B) {
			all := blocks(huffman)
			decode := start(b)
			b.ReportAllocs()
			for i := range b.N {
				n := i
				if i >= 8 { // the first ones fill the table; those behind them only use it
					n = 8 + i%56
				}
				if err := decode(all[n]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	for _, huffman := range []bool{false, true} {
		kind := "plain"
		if huffman {
			kind = "huffman"
		}
		run(kind, huffman, func(b *testing.B) func([]byte) error {
			d := NewDecoder(4096)
			var a Arena
			fields := 0
			emit := func(string, string) bool { fields++; return true }
			return func(p []byte) error { a.Reset(); return d.Decode(p, &a, 1<<16, emit) }
		})
		run("x-net-"+kind, huffman, func(b *testing.B) func([]byte) error {
			fields := 0
			d := oracle.NewDecoder(4096, func(oracle.HeaderField) { fields++ })
			return func(p []byte) error {
				if _, err := d.Write(p); err != nil {
					return err
				}
				return d.Close()
			}
		})
	}
}

func BenchmarkHuffman(b *testing.B) {
	const s = "/api/orders/10045/items?page=2&sort=created"
	coded := appendHuffman(nil, s)
	buf := make([]byte, 0, 128)
	b.Run("size", func(b *testing.B) {
		for b.Loop() {
			huffmanSize(s)
		}
	})
	b.Run("encode", func(b *testing.B) {
		for b.Loop() {
			buf = appendHuffman(buf[:0], s)
		}
	})
	b.Run("decode", func(b *testing.B) {
		for b.Loop() {
			buf, _ = decodeHuffman(buf[:0], coded)
		}
	})
	b.Run("x-net-decode", func(b *testing.B) {
		var out bytes.Buffer
		for b.Loop() {
			out.Reset()
			oracle.HuffmanDecode(&out, coded)
		}
	})
}

func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		newHuffman()
	}
}
