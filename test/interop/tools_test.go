package interop

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// large is the size of a large body.
const large = 100 << 20

// pattern is a body of any size without the memory for it: each byte follows from its place.
type pattern struct{ at, size int64 }

func (p *pattern) Read(b []byte) (int, error) {
	n := 0
	for ; n < len(b) && p.at < p.size; n++ {
		b[n] = byte(p.at>>8 ^ p.at)
		p.at++
	}
	if n == 0 && len(b) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (p *pattern) Seek(offset int64, whence int) (int64, error) {
	p.at = map[int]int64{io.SeekStart: 0, io.SeekCurrent: p.at, io.SeekEnd: p.size}[whence] + offset
	return p.at, nil
}

func sumOf(r io.Reader) string {
	h := sha256.New()
	n, _ := io.Copy(h, r)
	return fmt.Sprintf("%d %x", n, h.Sum(nil)[:8])
}

// webServer is what curl and its like are pointed at.
func webServer() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "%s %s\n", r.Method, r.URL.Path) })
	mux.HandleFunc("/sum", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, sumOf(r.Body)) })
	mux.HandleFunc("/large", func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "large", time.Unix(1, 0), &pattern{size: large})
	})
	mux.HandleFunc("/stream", func(w http.ResponseWriter, _ *http.Request) { // no length is known
		for i := range 5 {
			fmt.Fprintf(w, "part %d\n", i)
			_ = http.NewResponseController(w).Flush()
		}
	})
	mux.HandleFunc("/nothing", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("/elsewhere", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/there", http.StatusFound) })
	mux.HandleFunc("/early", func(w http.ResponseWriter, _ *http.Request) { // before the body was read
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusRequestEntityTooLarge)
	})
	return mux
}

func TestCurl(t *testing.T) {
	curl := programOrSkip(t, "curl", "")
	file := filepath.Join(t.TempDir(), "body")
	writePattern(t, file)
	sum := sumOf(&pattern{size: large})
	part := new(bytes.Buffer)
	p := &pattern{at: 1000, size: 2000}
	_, _ = part.ReadFrom(p)
	for _, serverH2 := range []bool{false, true} {
		server := serve(t, webServer())
		clear, _ := newChainFiles(t, links{server: server, h2: serverH2})
		secure, ca := newChainFiles(t, links{server: server, h2: serverH2, tls: true})
		for _, c := range []struct {
			name, url string
			args      []string
			want      string // what -w prints, then the body
		}{
			{"HTTP/1.0", "http:/x", []string{"--http1.0"}, "200 1.1|GET /x\n"},
			{"HTTP/1.0, no length", "http:/stream", []string{"--http1.0"}, "200 1.1|part 0\npart 1\npart 2\npart 3\npart 4\n"},
			{"HTTP/1.1", "http:/x", []string{"--http1.1"}, "200 1.1|GET /x\n"},
			{"HTTP/1.1, no length", "http:/stream", []string{"--http1.1"}, "200 1.1|part 0\npart 1\npart 2\npart 3\npart 4\n"},
			{"HTTP/2, prior knowledge", "http:/x", []string{"--http2-prior-knowledge"}, "200 2|GET /x\n"},
			{"HTTP/2, prior knowledge, no length", "http:/stream", []string{"--http2-prior-knowledge"}, "200 2|part 0\npart 1\npart 2\npart 3\npart 4\n"},
			{"HTTP/2, asked for by Upgrade: h2c", "http:/x", []string{"--http2"}, "200 1.1|GET /x\n"}, // RFC 9113 has taken it away
			{"TLS, HTTP/1.1", "https:/x", []string{"--http1.1"}, "200 1.1|GET /x\n"},
			{"TLS, HTTP/2", "https:/x", []string{"--http2"}, "200 2|GET /x\n"},
			{"HEAD", "http:/large", []string{"-I", "-o", os.DevNull}, "200 1.1|"},
			{"HEAD, HTTP/2", "http:/large", []string{"-I", "-o", os.DevNull, "--http2-prior-knowledge"}, "200 2|"},
			{"no content", "http:/nothing", nil, "204 1.1|"},
			{"redirect", "http:/elsewhere", []string{"-L"}, "200 1.1|GET /there\n"},
			{"range", "http:/large", []string{"-r", "1000-1999"}, "206 1.1|" + part.String()},
			{"range, HTTP/2", "http:/large", []string{"-r", "1000-1999", "--http2-prior-knowledge"}, "206 2|" + part.String()},
			{"range that is none", "http:/large", []string{"-r", fmt.Sprint(large) + "-", "-o", os.DevNull}, "416 1.1|"},
			{"POST, Expect: 100-continue", "http:/sum", []string{"-d", "hello", "-H", "Expect: 100-continue"}, "200 1.1|" + sumOf(strings.NewReader("hello"))},
			{"POST, chunked", "http:/sum", []string{"-d", "hello", "-H", "Transfer-Encoding: chunked"}, "200 1.1|" + sumOf(strings.NewReader("hello"))},
			{"an answer before the body", "http:/early", []string{"-T", file, "-H", "Expect: 100-continue"}, "413 1.1|"},
			{"upload of 100 MB, HTTP/1.1", "http:/sum", []string{"-T", file}, "200 1.1|" + sum},
			{"upload of 100 MB, HTTP/2", "http:/sum", []string{"-T", file, "--http2-prior-knowledge"}, "200 2|" + sum},
			{"upload of 100 MB, TLS, HTTP/2", "https:/sum", []string{"-T", file, "--http2"}, "200 2|" + sum},
		} {
			t.Run(fmt.Sprintf("%s, server's HTTP/2 %v", c.name, serverH2), func(t *testing.T) {
				if strings.Contains(c.name, "100 MB") && strings.Contains(c.name, "HTTP/2") != serverH2 {
					t.Skip("the other versions take bodies of 4 MB: TestGoClients")
				}
				args := append([]string{"-sS", "-m", "60", "-w", "%{stderr}%{http_code} %{http_version}|", "--cacert", ca}, c.args...)
				stdout, stderr := runTool(t, curl, append(args, urlOf(c.url, clear, secure))...)
				if got := stderr + stdout; got != c.want {
					t.Errorf("got %.200q, want %.200q", got, c.want)
				}
			})
		}
		for _, version := range []string{"--http1.1", "--http2-prior-knowledge"} {
			if (version != "--http1.1") != serverH2 {
				continue
			}
			t.Run(fmt.Sprintf("download of 100 MB, %s", version), func(t *testing.T) {
				out := filepath.Join(t.TempDir(), "out")
				runTool(t, curl, "-sS", "-m", "60", version, "-o", out, urlOf("http:/large", clear, secure))
				f, err := os.Open(out)
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				if got := sumOf(f); got != sum {
					t.Errorf("got %s, want %s", got, sum)
				}
			})
		}
		t.Run(fmt.Sprintf("one connection for three, server's HTTP/2 %v", serverH2), func(t *testing.T) {
			url := urlOf("http:/x", clear, secure)
			stdout, _ := runTool(t, curl, "-sS", "-m", "60", "-o", os.DevNull, "-o", os.DevNull, "-o", os.DevNull, "-w", "%{num_connects} ", url, url, url)
			if stdout != "1 0 0 " {
				t.Errorf("connections: %q", stdout)
			}
		})
	}
}

// urlOf makes a URL of "http:/path" or "https:/path".
func urlOf(url, clear, secure string) string {
	scheme, path, _ := strings.Cut(url, ":")
	if scheme == "https" {
		return "https://localhost:" + portOf(secure) + path
	}
	return "http://" + clear + path
}

func writePattern(t *testing.T, file string) {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.Copy(f, &pattern{size: large}); err != nil {
		t.Fatal(err)
	}
}

// programOrSkip finds a program that somebody else has written. The environment variable, if there is one, says where.
func programOrSkip(t *testing.T, name, variable string) string {
	t.Helper()
	where := ""
	if variable != "" {
		where = os.Getenv(variable)
	}
	if where == "" {
		where = name
	}
	path, err := exec.LookPath(where)
	if err != nil {
		t.Skipf("%s is not installed: %v", name, err)
	}
	return path
}

// runTool runs a program that has to succeed.
func runTool(t *testing.T, program string, args ...string) (stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%.4000s%.4000s", program, strings.Join(args, " "), err, &out, &errs)
	}
	return out.String(), errs.String()
}

func TestH2load(t *testing.T) {
	h2load := programOrSkip(t, "h2load", "")
	for _, c := range []struct {
		name string
		l    links
		args []string
	}{
		{"HTTP/2", links{}, nil},
		{"HTTP/2 to HTTP/2", links{h2: true}, nil},
		{"TLS, HTTP/2 to HTTP/2", links{h2: true, tls: true}, nil},
		{"HTTP/1.1 to HTTP/2", links{h2: true}, []string{"--h1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.l.server = serve(t, webServer())
			addr, _ := newChain(t, c.l)
			scheme := "http"
			if c.l.tls {
				scheme = "https"
			}
			out, _ := runTool(t, h2load, append(c.args, "-n", "3000", "-c", "8", "-m", "20", scheme+"://"+addr+"/")...)
			if !strings.Contains(out, "3000 succeeded, 0 failed, 0 errored, 0 timeout") || !strings.Contains(out, "3000 2xx") {
				t.Error(out)
			}
		})
	}
}

func TestNghttp(t *testing.T) {
	nghttp := programOrSkip(t, "nghttp", "")
	addr, _ := newChain(t, links{server: serve(t, webServer()), h2: true})
	out, _ := runTool(t, nghttp, "--no-verify-peer", "http://"+addr+"/a", "http://"+addr+"/stream")
	if !strings.Contains(out, "GET /a\n") || !strings.Contains(out, "part 4\n") {
		t.Error(out)
	}
}

func TestWrk(t *testing.T) {
	wrk := programOrSkip(t, "wrk", "")
	requests := regexp.MustCompile(`(\d+) requests in`)
	for _, h2 := range []bool{false, true} {
		addr, _ := newChain(t, links{server: serve(t, webServer()), h2: h2})
		out, _ := runTool(t, wrk, "-t", "2", "-c", "16", "-d", "1s", "http://"+addr+"/")
		if strings.Contains(out, "Non-2xx") || strings.Contains(out, "Socket errors") {
			t.Error(out)
		}
		if m := requests.FindStringSubmatch(out); m == nil || m[1] == "0" {
			t.Errorf("no request was made:\n%s", out)
		}
	}
}

// TestGoClients asks what h2load and wrk do, where those are not installed: many connections, many requests at once, in every
// combination of versions.
func TestGoClients(t *testing.T) {
	for _, serverH2 := range []bool{false, true} {
		for _, secure := range []bool{false, true} {
			for _, clientH2 := range []bool{false, true} {
				t.Run(fmt.Sprintf("HTTP/2 %v to HTTP/2 %v, TLS %v", clientH2, serverH2, secure), func(t *testing.T) {
					addr, trust := newChain(t, links{server: serve(t, webServer()), h2: serverH2, tls: secure})
					goClients(t, addr, trust, secure, clientH2)
				})
			}
		}
	}
}

func goClients(t *testing.T, addr string, trust *tls.Config, secure, h2 bool) {
	url, spoken := "http://"+addr, &http.Protocols{}
	spoken.SetHTTP1(!h2)
	spoken.SetHTTP2(h2 && secure)
	spoken.SetUnencryptedHTTP2(h2 && !secure)
	if secure {
		url = "https://" + addr
	}
	var running sync.WaitGroup
	for range 4 {
		transport := &http.Transport{Protocols: spoken, TLSClientConfig: trust.Clone(), MaxIdleConnsPerHost: 8}
		defer transport.CloseIdleConnections()
		client := &http.Client{Transport: transport, Timeout: 30 * time.Second}
		running.Go(func() { goUpload(t, client, url) })
		for worker := range 5 {
			running.Go(func() {
				for i := range 50 {
					path := fmt.Sprintf("/%d/%d", worker, i)
					resp, err := client.Get(url + path)
					if err != nil {
						t.Error(err)
						return
					}
					body, err := io.ReadAll(resp.Body)
					_ = resp.Body.Close()
					if want := "GET " + path + "\n"; err != nil || string(body) != want || (resp.ProtoMajor == 2) != h2 {
						t.Errorf("%s %q, %v, want %q", resp.Proto, body, err, want)
						return
					}
				}
			})
		}
	}
	running.Wait()
}

// goUpload sends a body of 4 MB of unknown length, whose sum comes back.
func goUpload(t *testing.T, client *http.Client, url string) {
	const size = 4 << 20
	resp, err := client.Post(url+"/sum", "application/octet-stream", struct{ io.Reader }{&pattern{size: size}})
	if err != nil {
		t.Error(err)
		return
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if want := sumOf(&pattern{size: size}); err != nil || string(got) != want {
		t.Errorf("upload: %q, %v, want %q", got, err, want)
	}
}
