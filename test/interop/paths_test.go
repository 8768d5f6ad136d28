package interop

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// denyAdmin is a permission that keeps everybody from what begins with /admin, however it is written.
const denyAdmin = `          - name: envoy.filters.http.rbac
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC
              rules:
                action: DENY
                policies:
                  admin: {permissions: [{url_path: {path: {prefix: "/admin", ignore_case: true}}}], principals: [{any: true}]}`

// spellings are targets of a request that somebody might read as /admin. Each is sent as it stands.
var spellings = []string{
	"/admin", "/admin/", "/admin/x", "/admin?x", "/Admin", "/ADMIN/x", "/aDmIn",
	// escapes: of letters, of more, in either case, twice
	"/%61dmin", "/%61%64%6d%69%6e", "/%61%64%6D%69%6E/x", "/%41DMIN", "/admi%6e", "/admin%2fx", "/admin%2Fx", "/%61dmin%20",
	"/%2561dmin/../admin", "%2fadmin", "/%2fadmin", "/%2f%2fadmin", "/x/%2e%2e%2fadmin", "/%5cadmin", "/x%5c..%5cadmin",
	// slashes
	"//admin", "///admin", "//admin//", "/x//../admin", "/x///..//admin", "//x/../admin", "/\\admin", "\\admin", "/x\\..\\admin", "/x/..\\admin",
	// dots
	"/./admin", "/././admin", "/x/../admin", "/x/y/../../admin", "/../admin", "/x/../../admin", "/%2e/admin", "/%2E/admin", "/x/%2e%2e/admin",
	"/x/.%2e/admin", "/x/%2E./admin", "/.;/admin", "/x/..;/admin", "/x/..;a=b/admin", "/x/%2e%2e;/admin", "/x/..%3b/admin", "/x/.../../admin/..//admin",
	"/admin/.", "/admin/..", "/admin/../admin", "/x/../admin/", "/admin./", "/admin.", "/admin..", "/x/..%2fadmin", "/x/..%5cadmin", "/..;/admin",
	// parameters
	"/admin;", "/admin;x", "/admin;x=y/z", "/;/admin", "/;x/admin", "/;/;/admin", "/;a=/;b/admin", "/admin%3b", "/%3b/admin", "/%3bx/admin", "/;%2fadmin",
	"/x/;/../../admin", "/x;/../admin", "/x;y/..;z/admin",
	// bytes that some remove, or take for others
	"/admin%00", "/%00/../admin", "/admin%00.html", "/x%00/admin", "/ad\tmin", "/\tadmin", "\t/admin", "/admin\t", "/ad%09min/../../admin", "/\x00admin",
	"/admin%20", "/admin ", "/ /../admin", "/admin\x7f", "/adm\x0bin", "/ad\rmin", "/ad\nmin",
	// overlong UTF-8: of a letter, of a slash, of a dot, of a backslash
	"/%c1%a1dmin", "/%C1%A1dmin", "/%e0%81%a1dmin", "/%f0%80%81%a1dmin", "/x%c0%af..%c0%afadmin", "/%c0%afadmin", "/x/%c0%ae%c0%ae/admin", "/x%c1%9c..%c1%9cadmin",
	"/\xc1\xa1dmin", "/x/\xc0\xae\xc0\xae/admin",
	// forms of a target
	"http://server/admin", "http://server//admin", "http://server/x/../admin", "http://server\\admin", "HTTP://SERVER/%61dmin", "http://server/;/admin",
	"http://user@server/admin", "http://server?/admin", "http://server#/admin", "https://server/admin", "//server/admin", "admin", "./admin", "x/../admin",
	// what is cut off
	"/admin#", "/admin#x", "/#/../admin", "/x#/../../admin", "/x?/../admin", "/?/admin", "/x/../admin?y", "/%23/../admin", "/%3f/../admin", "/x%3f/../admin",
}

// harmless must arrive, and as they were sent.
var harmless = []string{
	"/", "/x", "/admi", "/public/admin", "/a%20b/c", "/%C3%A9", "/x;v=1/y", "/x?path=/admin", "/a/b/c/?q=%2fadmin", "/.well-known/x", "/x...y", "/~user/",
}

// pieces are what random spellings are put together from.
var pieces = []string{
	"/", "/", "/", "admin", "admin", "ad", "min", "%61dmin", "Admin", ".", "..", "%2e", "%2E%2e", ";", ";x=1", "%3b", "\\", "%5c", "%2f", "//", "%c1%a1dmin",
	"%c0%af", "%c0%ae", "x", "y/", "#", "?", "%00", "\t", " ", "%25", "%2561", "%", "%6", "\xc1\xa1", "%e0%80%af", "..;", "/../", "/./",
}

func TestNoSpellingGetsPastAPathRule(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		b := newPathBackend(t, h2)
		addr, _ := newChain(t, links{server: b.addr, h2: h2, filters: denyAdmin})
		for _, c := range []pathClient{&pathHTTP1{addr: addr}, &pathHTTP2{t: t, addr: addr}} {
			t.Run(fmt.Sprintf("%v to HTTP/2 %v", c, h2), func(t *testing.T) {
				for _, target := range harmless {
					if status := c.ask(target); status != "200" || !b.saw(target) {
						t.Errorf("%q: status %s, and the server saw %q: it is harmless", target, status, b.take())
					}
				}
				for _, target := range spellings {
					tryPath(t, c, b, target)
				}
				asked, answered := 0, 0
				random := rand.New(rand.NewPCG(1, 2))
				for range 1500 {
					var target strings.Builder
					target.WriteString("/")
					for range 1 + random.IntN(8) {
						target.WriteString(pieces[random.IntN(len(pieces))])
					}
					asked++
					if status := tryPath(t, c, b, target.String()); len(status) == 3 {
						answered++
					}
				}
				if answered < asked/2 {
					t.Errorf("only %d of %d random targets got an answer; the others, which no field may hold, a reset", answered, asked)
				}
			})
		}
	}
}

// tryPath fails the test if the server sees a target that somebody reads as /admin. It returns the status.
func tryPath(t *testing.T, c pathClient, b *pathBackend, target string) (status string) {
	t.Helper()
	status = c.ask(target)
	for _, seen := range b.take() {
		if how, leaks := readsAsAdmin(seen); leaks {
			t.Errorf("%v %q: status %s, and the server got %q, which some read as %q", c, target, status, seen, how)
		}
	}
	if status == "200" && b.count == 0 {
		t.Errorf("%v %q: status 200 without the server", c, target)
	}
	b.count = 0
	return status
}

// FuzzPathRule looks for further spellings, on HTTP/1.1 and HTTP/2.
func FuzzPathRule(f *testing.F) {
	for _, s := range spellings {
		f.Add(s)
	}
	b := newPathBackend(f, false)
	addr, _ := newChain(f, links{server: b.addr, filters: denyAdmin})
	f.Fuzz(func(t *testing.T, target string) {
		if strings.ContainsAny(target, " \r\n") {
			return // is no target of HTTP/1, but the end of one
		}
		for _, c := range []pathClient{&pathHTTP1{addr: addr}, &pathHTTP2{t: t, addr: addr}} {
			tryPath(t, c, b, target)
		}
	})
}

// readsAsAdmin applies what lenient servers are known to do to a path, in every order, and each decoding once.
func readsAsAdmin(target string) (how string, leaks bool) {
	target, _, _ = strings.Cut(target, "?")
	seen := map[string]bool{}
	type reading struct {
		path    string
		decoded bool
	}
	for queue := []reading{{target, false}}; len(queue) > 0; {
		r := queue[0]
		queue = queue[1:]
		key := r.path + strconv.FormatBool(r.decoded)
		if seen[key] || len(seen) > 5000 {
			continue
		}
		seen[key] = true
		if strings.HasPrefix(strings.ToLower(r.path), "/admin") {
			return r.path, true
		}
		for _, step := range []func(string) string{cutFragment, cutParameters, backslashes, mergeSlashes, dotSegments, dropControls, absolute} {
			queue = append(queue, reading{step(r.path), r.decoded})
		}
		if !r.decoded {
			queue = append(queue, reading{overlong(unescape(r.path)), true}, reading{unescape(r.path), true})
		}
	}
	return "", false
}

func cutFragment(s string) string { s, _, _ = strings.Cut(s, "#"); return s }
func backslashes(s string) string { return strings.ReplaceAll(s, "\\", "/") }

func dropControls(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || r == '\r' || r == '\n' || r == 0 {
			return -1
		}
		return r
	}, s)
}

func absolute(s string) string {
	if _, rest, ok := strings.Cut(s, "://"); ok && !strings.HasPrefix(s, "/") {
		if i := strings.IndexAny(rest, "/\\"); i >= 0 {
			return rest[i:]
		}
	}
	return s
}

func cutParameters(s string) string {
	segments := strings.Split(s, "/")
	for i := range segments {
		segments[i], _, _ = strings.Cut(segments[i], ";")
	}
	return strings.Join(segments, "/")
}

func mergeSlashes(s string) string {
	for strings.Contains(s, "//") {
		s = strings.ReplaceAll(s, "//", "/")
	}
	return s
}

func dotSegments(s string) string {
	var out []string
	for _, segment := range strings.Split(s, "/") {
		switch segment {
		case ".":
		case "..":
			if len(out) > 1 {
				out = out[:len(out)-1]
			}
		default:
			out = append(out, segment)
		}
	}
	return strings.Join(out, "/")
}

func unescape(s string) string {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if b, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				out.WriteByte(byte(b))
				i += 2
				continue
			}
		}
		out.WriteByte(s[i])
	}
	return out.String()
}

// overlong decodes ASCII that is written in two to four bytes, which UTF-8 forbids and careless decoders take.
func overlong(s string) string {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		c, n := 0, 0
		switch b := s[i]; {
		case b == 0xc0 || b == 0xc1:
			c, n = int(b&1), 1
		case b == 0xe0 && i+1 < len(s) && s[i+1]&0xfe == 0x80:
			n = 2
		case b == 0xf0 && i+2 < len(s) && s[i+1] == 0x80 && s[i+2]&0xfe == 0x80:
			n = 3
		}
		if n == 0 || i+n >= len(s) {
			out.WriteByte(s[i])
			continue
		}
		for _, b := range []byte(s[i+1 : i+1+n]) {
			c = c<<6 | int(b&0x3f)
		}
		out.WriteByte(byte(c & 0x7f))
		i += n
	}
	return out.String()
}

// pathBackend is a server that answers everything with 200 and remembers the targets as they came.
type pathBackend struct {
	addr  string
	count int // since the last tryPath

	mu   sync.Mutex // guards below
	seen []string
}

func newPathBackend(t testing.TB, h2 bool) *pathBackend {
	b := &pathBackend{}
	if h2 {
		b.addr = serveH2(t, func(s *rawStream) {
			b.note(s.get(0, ":path"))
			s.sendHead(true, field{":status", "200"})
		})
		return b
	}
	b.addr = serveRawHTTP1(t, func(target string, c net.Conn) {
		b.note(target)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
	})
	return b
}

func (b *pathBackend) note(target string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seen = append(b.seen, target)
}

func (b *pathBackend) take() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	seen := b.seen
	b.seen, b.count = nil, b.count+len(seen)
	return seen
}

func (b *pathBackend) saw(target string) bool {
	for _, s := range b.take() {
		if s == target {
			return true
		}
	}
	return false
}

// serveRawHTTP1 reads heads of HTTP/1.1 as leniently as can be: lines up to an empty one.
func serveRawHTTP1(t testing.TB, handle func(target string, c net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			running.Go(func() {
				defer c.Close()
				for r := bufio.NewReader(c); ; {
					first, err := r.ReadString('\n')
					for line := first; err == nil && strings.TrimRight(line, "\r\n") != ""; {
						line, err = r.ReadString('\n')
					}
					if err != nil {
						return
					}
					_, target, _ := strings.Cut(strings.TrimRight(first, "\r\n"), " ")
					if i := strings.LastIndex(target, " "); i >= 0 {
						target = target[:i]
					}
					handle(target, c)
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		running.Wait()
	})
	return l.Addr().String()
}

// pathClient sends one request with a target as it stands, and returns the status, or what came instead.
type pathClient interface {
	ask(target string) (status string)
	String() string
}

type pathHTTP1 struct{ addr string }

func (c *pathHTTP1) String() string { return "HTTP/1.1" }

func (c *pathHTTP1) ask(target string) string {
	conn, err := net.Dial("tcp", c.addr)
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, "GET "+target+" HTTP/1.1\r\nHost: server\r\nConnection: close\r\n\r\n"); err != nil {
		return err.Error()
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return err.Error()
	}
	_, status, _ := strings.Cut(line, " ")
	return status[:min(3, len(status))]
}

// pathHTTP2 keeps its connection until the proxy ends it.
type pathHTTP2 struct {
	t    testing.TB
	addr string
	conn *rawConn
}

func (c *pathHTTP2) String() string { return "HTTP/2" }

func (c *pathHTTP2) ask(target string) string {
	for range 2 {
		if c.conn == nil {
			c.conn = dialH2(c.t, c.addr, nil)
		}
		s := c.conn.open(true, field{":method", "GET"}, field{":scheme", "http"}, field{":authority", "server"}, field{":path", target})
		status := s.over(c.t)
		c.conn.mu.Lock()
		over := c.conn.err != nil || c.conn.goAway != nil
		c.conn.mu.Unlock()
		if !over {
			return status
		}
		_ = c.conn.Close()
		c.conn = nil
		if len(status) == 3 {
			return status
		}
	}
	return "the connection was ended"
}
