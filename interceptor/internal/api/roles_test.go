package api

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"capstan/interceptor/internal/tlsconf"
	"capstan/interceptor/internal/watch"
	"capstan/pkg/certtest"
	"capstan/pkg/netns/netnstest"
	capstanv1 "capstan/proto/capstan/v1"
)

func dialRig(t *testing.T, r *rig) *grpc.ClientConn {
	t.Helper()
	return dial(t, "unix:"+r.socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
}

// outcome tells what a connection may do: "health read admin", as far as it may.
func outcome(ctx context.Context, conn *grpc.ClientConn) string {
	c := capstanv1.NewInterceptorClient(conn)
	var may []string
	try := func(what string, err error) {
		switch status.Code(err) {
		case codes.OK:
			may = append(may, what)
		case codes.PermissionDenied:
		default:
			may = append(may, err.Error())
		}
	}
	_, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	try("health", err)
	_, err = c.GetStatus(ctx, &capstanv1.GetStatusRequest{})
	try("status", err)
	_, err = c.GetLedger(ctx, &capstanv1.GetLedgerRequest{})
	try("ledger", err)
	_, err = c.ListInterfaces(ctx, &capstanv1.ListInterfacesRequest{})
	try("interfaces", err)
	stream, err := c.Watch(ctx, &capstanv1.WatchRequest{Backlog: 1})
	if err == nil {
		_, err = stream.Recv()
	}
	try("watch", err)
	reflect, err := reflectionv1.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
	if err == nil {
		_ = reflect.Send(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}})
		_, err = reflect.Recv()
	}
	try("reflection", err)
	_, err = c.SetCapture(ctx, &capstanv1.SetCaptureRequest{Settings: &capstanv1.CaptureSettings{Device: "eth0"}})
	try("set", err)
	return strings.Join(may, " ")
}

const (
	nothing = "health"
	reads   = "health status ledger interfaces watch reflection"
	admins  = reads + " set"
)

const clientVariable = "CAPSTAN_API_TEST_SOCKET"

// clientProcess is a client that runs as somebody else.
func clientProcess(socket string) int {
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return 1
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	fmt.Print(outcome(ctx, conn))
	return 0
}

func TestRolesByUser(t *testing.T) {
	netnstest.Require(t) // to become somebody else takes root
	r := newRig(t, watch.Config{}, Roles{
		Read:  Subjects{UIDs: []uint32{4001}, GIDs: []uint32{5001}},
		Admin: Subjects{UIDs: []uint32{4002}, GIDs: []uint32{5002}},
	})
	r.push(t, exchange(1, nil))
	for _, tc := range []struct {
		name     string
		uid, gid uint32
		groups   []uint32
		want     string
	}{
		{"root", 0, 0, nil, admins},
		{"nobody", 65534, 65534, nil, nothing},
		{"a user who may read", 4001, 65534, nil, reads},
		{"by primary group", 65534, 5001, nil, reads},
		{"by supplementary group", 65534, 65534, []uint32{7, 5002, 9}, admins},
		{"an admin", 4002, 5001, nil, admins},
		{"a user with the number of a group", 5002, 65534, nil, nothing},
	} {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), clientVariable+"="+r.socket)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: tc.uid, Gid: tc.gid, Groups: tc.groups}}
		out, err := cmd.CombinedOutput()
		if err != nil || string(out) != tc.want {
			t.Errorf("%s: %v, %s, want %s", tc.name, err, out, tc.want)
		}
	}
	denied := r.log.events(t, "denied")
	if len(denied) == 0 || !strings.Contains(denied[0]["peer"].(string), "uid 65534") || denied[0]["role"] != "none" {
		t.Errorf("%v", denied)
	}
}

func TestRolesByCertificate(t *testing.T) {
	r := newRig(t, watch.Config{}, Roles{Read: Subjects{Names: []string{"reader"}}, Admin: Subjects{Names: []string{"boss"}}})
	r.push(t, exchange(1, nil))
	dir := t.TempDir()
	ca, other := certtest.New(t, "ca"), certtest.New(t, "other")
	cert, key := ca.Issue(t, "127.0.0.1", time.Now().Add(time.Hour))
	files := tlsconf.Files{
		Certificate: certtest.Write(t, dir, "cert", cert), Key: certtest.Write(t, dir, "key", key), Authorities: certtest.Write(t, dir, "ca", ca.Root),
	}
	address, err := r.server.ListenTCP("127.0.0.1:0", files.Server())
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"reader": reads, "boss": admins, "stranger": nothing} {
		c := &tls.Config{RootCAs: ca.Pool(), Certificates: []tls.Certificate{ca.Pair(t, name)}}
		if got := outcome(testContext(t), dial(t, address.String(), grpc.WithTransportCredentials(credentials.NewTLS(c)))); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	for name, c := range map[string]*tls.Config{
		"no certificate":                {RootCAs: ca.Pool()},
		"one of a stranger's authority": {RootCAs: ca.Pool(), Certificates: []tls.Certificate{other.Pair(t, "boss")}},
	} {
		_, err := capstanv1.NewInterceptorClient(dial(t, address.String(), grpc.WithTransportCredentials(credentials.NewTLS(c)))).
			GetStatus(testContext(t), &capstanv1.GetStatusRequest{})
		if status.Code(err) != codes.Unavailable {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := r.server.ListenTCP("127.0.0.1:0", &tls.Config{}); err == nil {
		t.Error("TCP without client certificates")
	}
}

// TestUnknownMethodsAreForAdmins: one that is added later isn't open by mistake.
func TestUnknownMethodsAreForAdmins(t *testing.T) {
	for _, m := range capstanv1.Interceptor_ServiceDesc.Methods {
		want := Read
		if m.MethodName == "SetCapture" {
			want = Admin
		}
		if got := needed("/capstan.v1.Interceptor/" + m.MethodName); got != want {
			t.Errorf("%s: %v", m.MethodName, got)
		}
	}
	if needed("/capstan.v1.Interceptor/New") != Admin || needed("/x") != Admin || needed("") != Admin {
		t.Error("an unknown method is open")
	}
}

func TestRefusalsDontFloodTheLog(t *testing.T) {
	r := newRig(t, watch.Config{}, Roles{})
	for range 1000 {
		r.server.gate.audit.denied(identity{text: "x"}, "m", None)
	}
	if n := len(r.log.events(t, "denied")); n < 20 || n > 100 {
		t.Errorf("%d lines", n)
	}
}
