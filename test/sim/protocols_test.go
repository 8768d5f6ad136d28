package sim

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
)

// protocols is a frontend with a service of each kind to call.
const protocols = `
apiVersion: hauberk.io/v1alpha1
kind: Dataplane
metadata: {name: frontend-1, labels: {hauberk.io/service: frontend}}
spec:
  address: 10.0.0.1
  outbounds:
  - {port: 10001, backendRef: {kind: MeshService, name: cart, port: 80}}
  - {port: 10002, backendRef: {kind: MeshService, name: old, port: 80}}
  - {port: 10003, backendRef: {kind: MeshService, name: new, port: 80}}
---
apiVersion: hauberk.io/v1alpha1
kind: Dataplane
metadata: {name: cart-1, labels: {hauberk.io/service: cart}}
spec:
  address: 10.0.0.2
  inbounds: [{port: 80, listenPort: 15080, targetPort: 8080, protocol: grpc}]
---
apiVersion: hauberk.io/v1alpha1
kind: Dataplane
metadata: {name: old-1, labels: {hauberk.io/service: old}}
spec:
  address: 10.0.0.3
  inbounds: [{port: 80, listenPort: 15080, targetPort: 8080, protocol: http}]
---
apiVersion: hauberk.io/v1alpha1
kind: Dataplane
metadata: {name: new-1, labels: {hauberk.io/service: new}}
spec:
  address: 10.0.0.4
  inbounds: [{port: 80, listenPort: 15080, targetPort: 8080, protocol: http2}]
`

const allowAll = `
apiVersion: hauberk.io/v1alpha1
kind: MeshTrafficPermission
metadata: {name: all}
spec:
  rules:
  - default: {allow: [{spiffeID: {type: Prefix, value: "spiffe://default.default.mesh.local/"}}]}
`

// dialer connects to an outbound of p, as its application does.
func (p *proxy) dialer(outbound string) dialer {
	addr := p.graph.Load().Listeners[outbound].Addr.String()
	return func(ctx context.Context, _, _ string) (net.Conn, error) { return p.local.Dial(ctx, "tcp", addr) }
}

// readmeExample is the yaml block of a policy's README that has this text in it.
func readmeExample(t *testing.T, policy, has string) string {
	t.Helper()
	text, err := os.ReadFile("../../policy/" + policy + "/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range strings.Split(string(text), "```yaml\n")[1:] {
		if yaml, _, _ := strings.Cut(block, "```"); strings.Contains(yaml, has) {
			return yaml
		}
	}
	t.Fatalf("no example of %s has %q", policy, has)
	return ""
}

// TestGRPC calls a real gRPC service by a real gRPC client through both proxies: permission by method, a refusal that a gRPC
// client can read, and the status in the metrics of both sides.
func TestGRPC(t *testing.T) {
	m := newMesh(t, protocols)
	frontend, cart := m.proxies["frontend-1"], m.proxies["cart-1"]
	client := healthv1.NewHealthClient(grpcClient(t, frontend.dialer("outbound|cart|80")))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()

	_, err := client.Check(ctx, &healthv1.HealthCheckRequest{})
	if status.Code(err) != codes.PermissionDenied {
		t.Fatalf("without a permission: %v", err)
	}

	m.apply(readmeExample(t, "permission", "/grpc.health.v1.Health/Check"))
	answer, err := client.Check(ctx, &healthv1.HealthCheckRequest{})
	if err != nil || answer.Status != healthv1.HealthCheckResponse_SERVING {
		t.Fatalf("permitted: %v %v", answer, err)
	}
	if _, err = client.Check(ctx, &healthv1.HealthCheckRequest{Service: "nobody"}); status.Code(err) != codes.NotFound {
		t.Fatalf("the application's own status: %v", err)
	}
	watchIsRefused(ctx, t, client)

	for _, p := range []*proxy{frontend, cart} {
		p.records.await(t, func(*telemetry.Record) bool {
			seen := grpcSeen(p)
			return seen["0"] == 1 && seen["5"] == 1 && seen["7"] == 2
		})
	}
}

// watchIsRefused: a stream that no permission allows ends with a status that says why, and where to ask further.
func watchIsRefused(ctx context.Context, t *testing.T, client healthv1.HealthClient) {
	t.Helper()
	stream, err := client.Watch(ctx, &healthv1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv()
	said, _ := status.FromError(err)
	head, _ := stream.Header()
	md := metadata.Join(head, stream.Trailer())
	id := strings.Join(md.Get("x-request-id"), " ")
	if said.Code() != codes.PermissionDenied || id == "" || said.Message() != "the mesh does not permit this call, request id "+id {
		t.Errorf("refused with %v %q, request id %q", said.Code(), said.Message(), id)
	}
	if reason := md.Get("x-hauberk-reason"); len(reason) != 1 || reason[0] != "permission_denied" {
		t.Errorf("x-hauberk-reason is %q", reason)
	}
	if policy := fmt.Sprint(md, said); strings.Contains(policy, "MeshTrafficPermission") || strings.Contains(policy, "default-deny") {
		t.Errorf("the caller learns of policies: %s", policy)
	}
}

const denyWatch = `
apiVersion: hauberk.io/v1alpha1
kind: MeshTrafficPermission
metadata: {name: no-watching}
spec:
  rules:
  - default: {deny: [{paths: [{type: Exact, value: /shop.v1.Cart/Watch}]}]}
`

// TestStreamIsJudgedAgain: a permission that is taken back ends the stream that it concerns, and no other one of the connection.
func TestStreamIsJudgedAgain(t *testing.T) {
	m := newMesh(t, protocols+"---"+allowAll)
	conn := grpcClient(t, m.proxies["frontend-1"].dialer("outbound|cart|80"))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	watch := begin(ctx, t, conn, "/shop.v1.Cart/Watch")
	talk := begin(ctx, t, conn, "/shop.v1.Cart/Talk")

	m.apply(denyWatch)
	if err := watch.RecvMsg(&healthv1.HealthCheckResponse{}); status.Code(err) != codes.PermissionDenied {
		t.Fatalf("the stream ends with %v", err)
	}
	r := m.proxies["cart-1"].records.await(t, func(r *telemetry.Record) bool { return r.Reason == "permission_denied" })
	if r.Path != "/shop.v1.Cart/Watch" || r.Rule != "MeshTrafficPermission/no-watching#rules[0].deny[0]" {
		t.Errorf("%s by %s", r.Path, r.Rule)
	}
	if err := talk.SendMsg(&healthv1.HealthCheckRequest{}); err != nil {
		t.Fatal(err)
	}
	if err := talk.RecvMsg(&healthv1.HealthCheckResponse{}); err != nil {
		t.Errorf("the stream beside it: %v", err)
	}
}

func grpcClient(t *testing.T, dial dialer) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///cart", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return dial(ctx, "", "") }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// begin opens a stream and awaits the first answer on it.
func begin(ctx context.Context, t *testing.T, conn *grpc.ClientConn, method string) grpc.ClientStream {
	t.Helper()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, method)
	if err == nil {
		err = stream.SendMsg(&healthv1.HealthCheckRequest{})
	}
	if err == nil {
		err = stream.RecvMsg(&healthv1.HealthCheckResponse{})
	}
	if err != nil {
		t.Fatalf("%s: %v", method, err)
	}
	return stream
}

// grpcSeen counts a proxy's gRPC calls by grpc_response_status.
func grpcSeen(p *proxy) map[string]uint64 {
	seen := map[string]uint64{}
	for labels, s := range p.metrics.HTTP() {
		if labels.Protocol == "grpc" && labels.Mutual {
			seen[labels.GRPCLabel()] += s.Requests.Value()
		}
	}
	return seen
}

// TestHTTPVersions: whatever version a client speaks, each application gets its own.
func TestHTTPVersions(t *testing.T) {
	m := newMesh(t, protocols+"---"+allowAll)
	frontend := m.proxies["frontend-1"]
	for _, c := range []struct {
		client, outbound, app, want string
	}{
		{"HTTP/1.1", "outbound|old|80", "old-1", "HTTP/1.1"},
		{"HTTP/1.1", "outbound|new|80", "new-1", "HTTP/2.0"},
		{"HTTP/2.0", "outbound|old|80", "old-1", "HTTP/1.1"},
		{"HTTP/2.0", "outbound|new|80", "new-1", "HTTP/2.0"},
	} {
		t.Run(c.client+" to "+c.want, func(t *testing.T) {
			var speaks http.Protocols
			speaks.SetHTTP1(c.client == "HTTP/1.1")
			speaks.SetUnencryptedHTTP2(c.client == "HTTP/2.0")
			transport := &http.Transport{DialContext: frontend.dialer(c.outbound), Protocols: &speaks}
			defer transport.CloseIdleConnections()
			client := &http.Client{Transport: transport, Timeout: 20 * time.Second}
			resp, err := client.Post("http://service/items?id=1", "text/plain", strings.NewReader(strings.Repeat("body ", 1000)))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			_, _ = io.Copy(io.Discard, resp.Body)
			if resp.Proto != c.client || resp.StatusCode != 200 || resp.Header.Get("x-app") != c.app || resp.Header.Get("x-saw-protocol") != c.want {
				t.Errorf("%s %d %v", resp.Proto, resp.StatusCode, resp.Header)
			}
		})
	}
}

// TestWebSocket: a WebSocket of HTTP/1.1 passes between the proxies on a stream of HTTP/2.
func TestWebSocket(t *testing.T) {
	m := newMesh(t, protocols+"---"+allowAll)
	raw, err := m.proxies["frontend-1"].dialer("outbound|old|80")(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	_ = raw.SetDeadline(time.Now().Add(20 * time.Second))
	config, err := websocket.NewConfig("ws://old/echo", "http://old/")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := websocket.NewClient(config, raw)
	if err != nil {
		t.Fatal(err)
	}
	for _, said := range []string{"hello", strings.Repeat("long ", 10_000), "again"} {
		var heard []byte
		if err := websocket.Message.Send(conn, []byte(said)); err != nil {
			t.Fatal(err)
		}
		if err := websocket.Message.Receive(conn, &heard); err != nil || string(heard) != said {
			t.Fatalf("sent %d bytes, heard %d, %v", len(said), len(heard), err)
		}
	}
	_ = conn.Close()
	m.proxies["old-1"].records.await(t, func(r *telemetry.Record) bool { return r.Path == "/echo" })
}
