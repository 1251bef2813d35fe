package command

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"capstan/pkg/capfile"
	"capstan/pkg/capture"
)

// planted is in each place of the tests' traffic where credentials are.
const planted = "p1anted-s3cret"

// said is what one end of a connection says at once.
type said struct {
	from int // 0 the client, 1 the server
	what string
}

// writeConnections writes a capture of connections to port 80 of one server,
// from ports that count on from firstPort.
func writeConnections(t *testing.T, firstPort int, connections [][]said) (file string) {
	t.Helper()
	return writeCaptured(t, firstPort, connections, nil)
}

// writeCaptured is writeConnections where some of what is said may not be captured: lost
// tells so of a connection and a place in it.
func writeCaptured(t *testing.T, firstPort int, connections [][]said, lost map[[2]int]bool) (file string) {
	t.Helper()
	var out bytes.Buffer
	w, err := capfile.NewWriter(&out, "test")
	if err != nil {
		t.Fatal(err)
	}
	id, err := w.AddInterface(capfile.Interface{Name: "eth0", LinkType: capture.LinkTypeEthernet})
	if err != nil {
		t.Fatal(err)
	}
	now := int64(1_700_000_000_000_000_000)
	for c, says := range connections {
		seq := [2]uint32{1000, 5000}
		captured := true
		send := func(from int, payload string, syn, fin bool) {
			ends := [2]net.IP{{10, 0, 0, 1}, {10, 0, 0, 2}}
			ports := [2]layers.TCPPort{layers.TCPPort(firstPort + c), 80}
			ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: ends[from], DstIP: ends[1-from]}
			tcp := &layers.TCP{SrcPort: ports[from], DstPort: ports[1-from], Seq: seq[from], Ack: seq[1-from], Window: 65535, SYN: syn, FIN: fin, ACK: !syn || from == 1}
			if err := tcp.SetNetworkLayerForChecksum(ip); err != nil {
				t.Fatal(err)
			}
			b := gopacket.NewSerializeBuffer()
			ethernet := &layers.Ethernet{SrcMAC: make([]byte, 6), DstMAC: make([]byte, 6), EthernetType: layers.EthernetTypeIPv4}
			if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ethernet, ip, tcp, gopacket.Payload(payload)); err != nil {
				t.Fatal(err)
			}
			now += 100_000
			if captured {
				if err := w.WriteFrame(id, &capture.Frame{Data: b.Bytes(), Len: len(b.Bytes()), Timestamp: now, LinkType: capture.LinkTypeEthernet}); err != nil {
					t.Fatal(err)
				}
			}
			seq[from] += uint32(len(payload))
			if syn || fin {
				seq[from]++
			}
		}
		send(0, "", true, false)
		send(1, "", true, false)
		for i, s := range says {
			captured = !lost[[2]int{c, i}]
			send(s.from, s.what, false, false)
		}
		captured = true
		send(0, "", false, true)
		send(1, "", false, true)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "capture.pcapng")
	if err := os.WriteFile(file, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// writeCapture writes a capture of connections with so many exchanges each, of
// which the tenth is a health check. The first port tells captures apart.
func writeCapture(t *testing.T, firstPort, connections, exchanges int) (file string) {
	t.Helper()
	var says []said
	for n := range exchanges {
		path := fmt.Sprintf("/orders/%d", n)
		if n%10 == 9 {
			path = "/healthz"
		}
		says = append(says,
			said{0, "GET " + path + " HTTP/1.1\r\nHost: shop\r\nAuthorization: Bearer " + planted + "\r\nX-Customer-Pin: " + planted + "\r\n\r\n"},
			said{1, "HTTP/1.1 200 OK\r\nSet-Cookie: session=" + planted + "\r\nContent-Type: image/png\r\nContent-Length: 4\r\n\r\n\x89PNG"})
	}
	all := make([][]said, connections)
	for c := range all {
		all[c] = says
	}
	return writeConnections(t, firstPort, all)
}

// TestNamesOfFilesAreShown: a name has no say in what a terminal does, nor where a line ends.
func TestNamesOfFilesAreShown(t *testing.T) {
	const name = "a\x1b[31m\u202e\ninterceptor: all is well"
	for what, content := range map[string][]byte{"no file": nil, "empty": {}, "no capture": []byte("hello world, this is no capture"), "cut": {0x0a, 0x0d, 0x0d, 0x0a, 28}} {
		file := filepath.Join(t.TempDir(), name)
		if content != nil {
			if err := os.WriteFile(file, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		status, _, stderr := runCommandLine(t, "read", file)
		if (status == ExitDone) != (what == "cut") || strings.ContainsAny(stderr, "\x1b\u202e") || strings.Contains(stderr, "\ninterceptor: all") || !strings.Contains(stderr, `a\x1b[31m\u202e\n`) {
			t.Errorf("%s: status %d\n%q", what, status, stderr)
		}
	}
}
