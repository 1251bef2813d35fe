package otlp

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// traceparents are those of the requests in httpCapture: a parent, one that is
// malformed, and none.
var traceparents = []string{"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-no", ""}

var statuses = []int{200, 404, 503}

// httpCapture writes a pcap file (draft-ietf-opsawg-pcap) with a connection of n
// exchanges of HTTP/1.1. Its packets are IPv4 without a link layer.
func httpCapture(t *testing.T, file string, n int) {
	t.Helper()
	b := binary.LittleEndian.AppendUint32(nil, 0xa1b2c3d4)
	b = binary.LittleEndian.AppendUint16(b, 2)
	b = binary.LittleEndian.AppendUint16(b, 4)
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, 65535) // snapshot length
	b = binary.LittleEndian.AppendUint32(b, 101)   // LINKTYPE_RAW
	next := [2]uint32{1000, 5000}                  // sequence numbers of client and server
	packets := uint32(0)
	send := func(from int, flags byte, payload string) {
		p := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, 6, 0, 0, 192, 0, 2, byte(1 + from), 192, 0, 2, byte(2 - from)}
		binary.BigEndian.PutUint16(p[2:], uint16(40+len(payload)))
		ports := [2]uint16{40000, 80}
		p = binary.BigEndian.AppendUint16(p, ports[from])
		p = binary.BigEndian.AppendUint16(p, ports[1-from])
		p = binary.BigEndian.AppendUint32(p, next[from])
		p = binary.BigEndian.AppendUint32(p, next[1-from])
		p = append(p, 5<<4, flags, 255, 255, 0, 0, 0, 0)
		p = append(p, payload...)
		b = binary.LittleEndian.AppendUint32(b, 1_700_000_000)
		b = binary.LittleEndian.AppendUint32(b, 150*packets) // microseconds
		b = binary.LittleEndian.AppendUint32(b, uint32(len(p)))
		b = binary.LittleEndian.AppendUint32(b, uint32(len(p)))
		b = append(b, p...)
		packets++
		next[from] += uint32(len(payload))
		if flags&3 != 0 { // FIN, SYN
			next[from]++
		}
	}
	const fin, syn, ack = 1, 2, 16
	send(0, syn, "")
	send(1, syn|ack, "")
	for i := range n {
		trace := traceparents[i%len(traceparents)]
		if trace != "" {
			trace = "traceparent: " + trace + "\r\ntracestate: congo=t61rcWkgMzE\r\n"
		}
		send(0, ack, fmt.Sprintf("GET /orders/%d?q=%d HTTP/1.1\r\nHost: shop.example\r\n%sUser-Agent: judge\r\n\r\n", i, i, trace))
		send(1, ack, fmt.Sprintf("HTTP/1.1 %d X\r\nContent-Length: 2\r\n\r\nok", statuses[i%len(statuses)]))
	}
	send(0, fin|ack, "")
	send(1, fin|ack, "")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// grpcCapture writes a file with calls of gRPC.
func grpcCapture(t *testing.T, dir, file string) {
	t.Helper()
	cmd := exec.Command(filepath.Join(dir, "bench"), "generate", "--kind", "grpc", "--connections", "4", "--exchanges", "25", "--write", file)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
