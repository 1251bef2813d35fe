package rpcaptest

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"capstan/pkg/rpcap"
)

// dial connects to the server like a client that knows nothing but bytes.
func dial(t *testing.T, s *Server, c *tls.Config) net.Conn {
	t.Helper()
	u := s.URL()
	network := "tcp"
	if u.Scheme == rpcap.SchemeUnix {
		network = "unix"
	}
	conn, err := net.Dial(network, u.Address())
	if err != nil {
		t.Fatal(err)
	}
	if c != nil {
		conn = tls.Client(conn, c)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestServerPlaysScript(t *testing.T) {
	serverTLS, pool, err := SelfSigned("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	clientTLS := &tls.Config{RootCAs: pool, ServerName: "127.0.0.1"}
	for _, tc := range []struct {
		name   string
		config Config
		tls    *tls.Config
	}{
		{"tcp", Config{}, nil},
		{"tcp6", Config{Network: "tcp6"}, nil},
		{"unix", Config{Network: "unix"}, nil},
		{"tls", Config{TLS: serverTLS}, clientTLS},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := Start(t, tc.config, Expect(&rpcap.StatsRequest{}), Send(&rpcap.StatsReply{Sent: 7}), ExpectType(rpcap.TypeEndCapRequest), ExpectEnd())
			conn := dial(t, s, tc.tls)
			if _, err := conn.Write(rpcap.Append(nil, &rpcap.StatsRequest{})); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, 24)
			if _, err := io.ReadFull(conn, got); err != nil || got[23] != 7 {
				t.Errorf("%x, %v", got, err)
			}
			if _, err := conn.Write(rpcap.Append(rpcap.Append(nil, &rpcap.EndCapRequest{}), &rpcap.Close{})); err != nil {
				t.Fatal(err)
			}
			conn.Close()
			if err := s.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A script must notice whatever the client does otherwise.
func TestServerNotices(t *testing.T) {
	stats := rpcap.Append(nil, &rpcap.StatsRequest{})
	for _, tc := range []struct {
		name  string
		step  Step
		sends []byte
	}{
		{"another message", Expect(&rpcap.EndCapRequest{}), stats},
		{"another type", ExpectType(rpcap.TypeEndCapRequest), stats},
		{"other bytes", ExpectRaw([]byte{1, 2}), []byte{1, 3}},
		{"too few bytes", ExpectRaw([]byte{1, 2}), []byte{1}},
		{"no end", ExpectEnd(), stats},
		{"two ends", ExpectEnd(), rpcap.Append(rpcap.Append(nil, &rpcap.Close{}), &rpcap.Close{})},
		{"no data connection", SendData(nil), nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, err := Serve(Config{}, tc.step)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			conn := dial(t, s, nil)
			if _, err := conn.Write(tc.sends); err != nil {
				t.Fatal(err)
			}
			conn.Close()
			if err := s.Wait(); err == nil || !strings.HasPrefix(err.Error(), "step 1, ") {
				t.Errorf("the script ended with %v", err)
			}
		})
	}
}

func TestServerCloseEndsScript(t *testing.T) {
	s, err := Serve(Config{Network: "unix"}, WaitFor(make(chan struct{})))
	if err != nil {
		t.Fatal(err)
	}
	dial(t, s, nil)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Wait(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the script ended with %v", err)
	}
	if _, err := Serve(Config{Network: "ip"}); err == nil {
		t.Error("an unknown network is taken")
	}
}
