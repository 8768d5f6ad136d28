package interop

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/orca"
)

// grpcCase names a case of gRPC's own suite that this test binary is to run as a program of its own: the suite ends the
// process at a failure. grpcTarget is where.
const (
	grpcCase   = "HAUBERK_INTEROP_GRPC_CASE"
	grpcTarget = "HAUBERK_INTEROP_GRPC_TARGET"
)

// grpcCases are those of google.golang.org/grpc/interop that go through a mesh.
var grpcCases = map[string]func(context.Context, *grpc.ClientConn, testgrpc.TestServiceClient){
	"empty_unary":                 plain(interop.DoEmptyUnaryCall),
	"large_unary":                 plain(interop.DoLargeUnaryCall),
	"client_streaming":            plain(interop.DoClientStreaming),
	"server_streaming":            plain(interop.DoServerStreaming),
	"ping_pong":                   plain(interop.DoPingPong),
	"empty_stream":                plain(interop.DoEmptyStream),
	"timeout_on_sleeping_server":  plain(interop.DoTimeoutOnSleepingServer),
	"cancel_after_begin":          plain(interop.DoCancelAfterBegin),
	"cancel_after_first_response": plain(interop.DoCancelAfterFirstResponse),
	"custom_metadata":             plain(interop.DoCustomMetadata),
	"status_code_and_message":     plain(interop.DoStatusCodeAndMessage),
	"special_status_message":      plain(interop.DoSpecialStatusMessage),
	"unimplemented_method": func(ctx context.Context, cc *grpc.ClientConn, _ testgrpc.TestServiceClient) {
		interop.DoUnimplementedMethod(ctx, cc)
	},
	"unimplemented_service": func(ctx context.Context, cc *grpc.ClientConn, _ testgrpc.TestServiceClient) {
		interop.DoUnimplementedService(ctx, testgrpc.NewUnimplementedServiceClient(cc))
	},
	"orca_per_rpc": func(ctx context.Context, _ *grpc.ClientConn, tc testgrpc.TestServiceClient) {
		interop.DoORCAPerRPCTest(ctx, tc)
	},
	"rpc_soak": func(ctx context.Context, cc *grpc.ClientConn, _ testgrpc.TestServiceClient) {
		soak(ctx, func() (*grpc.ClientConn, func()) { return cc, func() {} })
	},
	"channel_soak": func(ctx context.Context, cc *grpc.ClientConn, _ testgrpc.TestServiceClient) {
		soak(ctx, func() (*grpc.ClientConn, func()) {
			one, err := grpc.NewClient(cc.Target(), grpc.WithTransportCredentials(insecure.NewCredentials()))
			if err != nil {
				panic(err)
			}
			return one, func() { _ = one.Close() }
		})
	},
}

// grpcLeftOut are the others, each with its reason.
var grpcLeftOut = map[string]string{
	"compute_engine_creds":               "needs a Google Cloud machine",
	"compute_engine_channel_credentials": "needs a Google Cloud machine",
	"google_default_credentials":         "needs Google's credentials",
	"service_account_creds":              "needs Google's credentials",
	"jwt_token_creds":                    "needs Google's credentials",
	"oauth2_auth_token":                  "needs Google's credentials",
	"per_rpc_creds":                      "needs Google's credentials",
	"pick_first_unary":                   "is about connections of the client's own to several servers, and the Go server does not say who it is",
	"orca_oob":                           "a server reports each second only by a switch that is internal to gRPC; elsewhere each 30 s, which is the case's time limit",
}

func plain(do func(context.Context, testgrpc.TestServiceClient, ...grpc.CallOption)) func(context.Context, *grpc.ClientConn, testgrpc.TestServiceClient) {
	return func(ctx context.Context, _ *grpc.ClientConn, tc testgrpc.TestServiceClient) { do(ctx, tc) }
}

// soak is the suite's own, with sizes that keep it short. Its default server and response sizes are kept.
func soak(ctx context.Context, channel func() (*grpc.ClientConn, func())) {
	interop.DoSoakTest(ctx, interop.SoakTestConfig{
		RequestSize: 271828, ResponseSize: 314159, PerIterationMaxAcceptableLatency: 5 * time.Second, OverallTimeout: 30 * time.Second,
		NumWorkers: 2, Iterations: 20, ChannelForTest: channel,
	})
}

// runGRPCCase is the whole program of such a process. With HAUBERK_INTEROP_GRPC_CA it speaks TLS.
func runGRPCCase(name, target string) {
	creds := insecure.NewCredentials()
	if ca := os.Getenv(grpcCA); ca != "" {
		var err error
		if creds, err = credentials.NewClientTLSFromFile(ca, "localhost"); err != nil {
			panic(err)
		}
	}
	cc, err := grpc.NewClient("passthrough:///"+target, grpc.WithTransportCredentials(creds),
		grpc.WithDisableServiceConfig(), grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [{"test_backend_metrics_load_balancer": {}}]}`))
	if err != nil {
		panic(err)
	}
	defer cc.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	grpcCases[name](ctx, cc, testgrpc.NewTestServiceClient(cc))
}

// grpcCA is a file with whom a case trusts.
const grpcCA = "HAUBERK_INTEROP_GRPC_CA"

// TestGRPCSuite runs each case on its own, in clear text with prior knowledge and with TLS.
func TestGRPCSuite(t *testing.T) {
	addr := serveGRPC(t, interop.NewTestServer(), orca.CallMetricsServerOption(nil))
	for _, c := range []struct {
		name string
		tls  bool
	}{{"plaintext", false}, {"TLS", true}} {
		egress, ca := newChainFiles(t, links{server: addr, h2: true, tls: c.tls})
		t.Run(c.name, func(t *testing.T) {
			for name := range grpcCases {
				if c.tls && name == "channel_soak" {
					continue // makes connections of its own, in clear text
				}
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					env := append(os.Environ(), grpcCase+"="+name, grpcTarget+"="+egress)
					if c.tls {
						env = append(env, grpcCA+"="+ca)
					}
					runCase(t, env)
				})
			}
		})
	}
	for name, why := range grpcLeftOut {
		t.Logf("left out: %s: %s", name, why)
	}
}

func runCase(t *testing.T, env []string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = env
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	} else if !strings.Contains(string(out), caseDone) {
		t.Errorf("it did not come to its end:\n%s", out)
	}
}

// caseDone is a case's last word.
const caseDone = "the case has passed"

// asGRPCCase tells whether this process is to be a case, and is it then.
func asGRPCCase() bool {
	name := os.Getenv(grpcCase)
	if name == "" {
		return false
	}
	runGRPCCase(name, os.Getenv(grpcTarget))
	fmt.Println(caseDone)
	return true
}

// serveGRPC runs a server in clear text.
func serveGRPC(t testing.TB, s testgrpc.TestServiceServer, o ...grpc.ServerOption) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer(o...)
	testgrpc.RegisterTestServiceServer(g, s)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = g.Serve(l)
	}()
	t.Cleanup(func() {
		g.Stop()
		<-done
	})
	return l.Addr().String()
}
