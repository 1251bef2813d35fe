package rpcapclient

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"capstan/pkg/capture"
	"capstan/pkg/rpcap"
	"capstan/pkg/rpcap/rpcaptest"
)

// replayed is what the recorded client did, done by ours, and what came of it.
type replayed struct {
	log    []string // one line for each request
	frames []frame
}

// replay lets our client do what the client in the recording did. The server
// compares each request with the recorded one, byte by byte.
func replay(t *testing.T, name string) replayed {
	t.Helper()
	rec, err := rpcaptest.Transcript(name)
	if err != nil {
		t.Fatal(err)
	}
	script, err := rec.Replay()
	if err != nil {
		t.Fatal(err)
	}
	requests, err := rpcaptest.Messages(rec.Connections[0].Client)
	if err != nil {
		t.Fatal(err)
	}
	var u rpcap.URL
	var daemons *Listener
	if rec.Connections[0].Accepts {
		u = rpcaptest.Start(t, rpcaptest.Config{}, script...).URL()
	} else {
		daemons = listen(t, ListenOptions{})
		rpcaptest.Start(t, rpcaptest.Config{Active: daemons.Addr().String()}, script...)
	}
	var c *Client
	var s *Stream
	var got replayed
	for _, m := range requests {
		var line string
		if m.Type == rpcap.TypeAuthRequest {
			var auth rpcap.AuthRequest
			must(t, rpcap.Decode(m.Header, m.Body, &auth))
			u.User, u.Password = auth.User, string(auth.Password)
			if daemons != nil {
				c, err = daemons.Accept(t.Context())
			} else {
				c, err = Dial(t.Context(), u, Options{})
			}
			if err == nil {
				line = fmt.Sprint("auth ", c.ByteOrder())
				defer c.Close()
			}
		} else {
			line, err = got.repeat(t, c, &s, m)
		}
		var remote *rpcap.RemoteError
		if errors.As(err, &remote) {
			line = fmt.Sprintf("%v: %s", remote.Code, remote.Text)
		} else if err != nil {
			t.Fatal(err)
		}
		got.log = append(got.log, line)
	}
	packets := 0
	for _, data := range rec.Connections[1:] {
		all, err := rpcaptest.Messages(data.Server)
		must(t, err)
		packets += len(all)
	}
	for range packets {
		var f capture.Frame
		must(t, s.Next(&f))
		got.frames = append(got.frames, copyOf(&f))
	}
	if s != nil && s.Stats().Missing != 0 {
		t.Errorf("%+v", s.Stats())
	}
	if c != nil {
		c.Close()
	}
	return got
}

// repeat makes the request m again.
func (r *replayed) repeat(t *testing.T, c *Client, s **Stream, m rpcaptest.Message) (string, error) {
	ctx := t.Context()
	switch m.Type {
	case rpcap.TypeFindAllIfRequest:
		list, err := c.Interfaces(ctx)
		var lines []string
		for _, i := range list {
			lines = append(lines, fmt.Sprintf("%s %q %#x %v", i.Name, i.Description, uint32(i.Flags), i.Addresses))
		}
		return strings.Join(lines, "\n"), err
	case rpcap.TypeOpenRequest:
		link, err := c.Open(ctx, string(m.Body))
		return fmt.Sprint("open ", link), err
	case rpcap.TypeStartCapRequest:
		var start rpcap.StartCapRequest
		must(t, rpcap.Decode(m.Header, m.Body, &start))
		var err error
		*s, err = c.Start(ctx, StartRequest{
			SnapLen: int(start.SnapLen), ReadTimeout: start.ReadTimeout,
			Promiscuous: start.Flags&rpcap.StartCapPromiscuous != 0, Filter: start.Filter, Transport: transportOf(start.Flags),
		})
		return "start", err
	case rpcap.TypeUpdateFilterReq:
		var update rpcap.UpdateFilterRequest
		must(t, rpcap.Decode(m.Header, m.Body, &update))
		return "filter", c.UpdateFilter(ctx, update.Filter)
	case rpcap.TypeSetSamplingReq:
		var sampling rpcap.SetSamplingRequest
		must(t, rpcap.Decode(m.Header, m.Body, &sampling))
		return "sampling", c.SetSampling(ctx, sampling.Method, sampling.Value)
	case rpcap.TypeStatsRequest:
		stats, err := c.Stats(ctx)
		return fmt.Sprintf("stats %+v", stats), err
	case rpcap.TypeEndCapRequest:
		return "end", c.EndCapture(ctx)
	case rpcap.TypeClose:
		return "close", nil // comes after the frames
	}
	return "", fmt.Errorf("no call for %v", m.Type)
}

func transportOf(flags rpcap.StartCapFlags) Transport {
	switch {
	case flags&rpcap.StartCapDatagram != 0:
		return TransportDatagram
	case flags&rpcap.StartCapServerOpen != 0:
		return TransportAccept
	}
	return TransportConnect
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// recordedFrames finds the frames of a recording by their fixed offsets: all
// packets of these recordings have the same length.
func recordedFrames(t *testing.T, name string, length int) []frame {
	t.Helper()
	rec, err := rpcaptest.Transcript(name)
	must(t, err)
	wire := rec.Connections[1].Server
	var all []frame
	for n := uint32(1); len(wire) > 0; n++ {
		be := func(at int) int64 { return int64(binary.BigEndian.Uint32(wire[at:])) }
		if be(16) != int64(length) || be(20) != int64(length) || be(24) != int64(n) {
			t.Fatalf("packet %d is not as expected: %x", n, wire[:28])
		}
		all = append(all, frame{time: be(8)*1e9 + be(12)*1e3, len: length, data: string(wire[28 : 28+length])})
		wire = wire[28+length:]
	}
	return all
}

// TestReplay holds our client against the C rpcapd: it sends the same requests
// as libpcap's client and understands every answer.
func TestReplay(t *testing.T) {
	const auth = "auth LittleEndian"
	zero := netip.Addr{}
	interfaces := strings.Join([]string{
		"eth0 \"\" 0x16 [{192.0.2.2 255.255.255.0 192.0.2.255 Z} {fd00::2 ffff:ffff:ffff:ffff:: Z Z} {fe80::fc:ff:fe00:1%4 ffff:ffff:ffff:ffff:: Z Z}]",
		"vb \"\" 0x16 []",
		"va \"\" 0x16 []",
		"ns0 \"\" 0x16 [{10.9.0.1 255.255.255.0 10.9.0.1 Z} {fe80::f07a:6fff:fe9a:49aa%8 ffff:ffff:ffff:ffff:: Z Z}]",
		"any \"Pseudo-device that captures on all interfaces\" 0x36 []",
		"lo \"\" 0x37 [{127.0.0.1 255.0.0.0 Z Z} {::1 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff Z Z}]",
		"ifb0 \"\" 0x30 []",
		"ifb1 \"\" 0x30 []",
		"nflog \"Linux netfilter log (NFLOG) interface\" 0x30 []",
		"nfqueue \"Linux netfilter queue (NFQUEUE) interface\" 0x30 []",
		"dbus-system \"D-Bus system bus\" 0x30 []",
		"dbus-session \"D-Bus session bus\" 0x30 []",
	}, "\n")
	interfaces = strings.ReplaceAll(interfaces, "Z", zero.String())
	const noDevice = "OPEN: nosuch0: No such device exists (No such device exists)"
	for _, tc := range []struct {
		name   string
		log    []string
		frames int
		length int
	}{
		{"list", []string{auth, interfaces}, 0, 0},
		{"listapi", []string{auth, interfaces}, 0, 0},
		{"tcpdump_filter", []string{auth, "open EN10MB", "start"}, 0, 0},
		{"tcpdump_snap", []string{auth, "open EN10MB", "start"}, 0, 0},
		{"api_tcp", []string{auth, "open EN10MB", "start"}, 128, 100},
		{"api_any", []string{auth, "open LINUX_SLL", "start"}, 64, 102},
		{"api_nodev", []string{auth, noDevice}, 0, 0},
		{"api_refilter", []string{auth, "open EN10MB", "start", "filter", "stats {Received:64 InterfaceDropped:0 KernelDropped:0 Sent:64 OtherFlows:0}", "close"}, 64, 100},
		{"api_sampling", []string{auth, "open EN10MB", "sampling", "start"}, 64, 100},
		{"api_samplingms", []string{auth, "open EN10MB", "sampling", "start"}, 64, 100},
		{"api_udp", []string{auth, "open EN10MB", "start"}, 64, 100},
		{"active", []string{auth, "open EN10MB", "start", "stats {Received:128 InterfaceDropped:0 KernelDropped:0 Sent:128 OtherFlows:0}", "end"}, 128, 100},
		{"api_nocap", []string{auth, "open EN10MB", "start", "filter"}, 0, 0},
		{"auth_null_refused", []string{"AUTH_FAILED: Authentication failed; NULL authentication not permitted."}, 0, 0},
		{"auth_bad", []string{"AUTH_FAILED: Authentication failed"}, 0, 0},
		{"api_pwd_on_null", []string{"AUTH_FAILED: Authentication failed"}, 0, 0},
		{"tls_plain_client", []string{"TLS_REQUIRED: TLS is required by this server"}, 0, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := replay(t, tc.name)
			if !slices.Equal(got.log, tc.log) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got.log, "\n"), strings.Join(tc.log, "\n"))
			}
			if len(got.frames) != tc.frames {
				t.Errorf("%d frames, want %d", len(got.frames), tc.frames)
			}
			if tc.frames > 0 && !slices.Equal(got.frames, recordedFrames(t, tc.name, tc.length)) {
				t.Errorf("the frames are not those of the recording")
			}
		})
	}
}

// TestReplayPermission: the daemon drops its privilege after a login with a
// password and can't open the device.
func TestReplayPermission(t *testing.T) {
	got := replay(t, "auth_ok")
	if len(got.log) != 2 || got.log[0] != "auth LittleEndian" || !strings.HasPrefix(got.log[1], "OPEN: vb: You don't have permission") {
		t.Errorf("%q", got.log)
	}
}
