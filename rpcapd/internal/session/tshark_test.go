package session_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"capstan/pkg/afpacket"
	"capstan/pkg/rpcap"
	"capstan/rpcapd/internal/session"
)

// wiretap turns what goes over connections into the packets of a capture file.
type wiretap struct {
	file     bytes.Buffer // pcap, LINKTYPE_RAW
	sequence map[[2]uint16]uint32
}

func newWiretap() *wiretap {
	w := &wiretap{sequence: map[[2]uint16]uint32{}}
	header := []uint32{0xa1b2c3d4, 4<<16 | 2, 0, 0, 1 << 18, 101} // version 2.4
	for _, v := range header {
		w.file.Write(binary.NativeEndian.AppendUint32(nil, v))
	}
	return w
}

// packet writes an IPv4 packet from or to the server, whose addresses differ
// in the last byte.
func (w *wiretap) packet(protocol byte, fromServer bool, transport []byte) {
	source, destination := byte(2), byte(1)
	if fromServer {
		source, destination = 1, 2
	}
	ip := []byte{0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, protocol, 0, 0, 192, 0, 2, source, 192, 0, 2, destination}
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)+len(transport)))
	for _, v := range []uint32{uint32(w.file.Len()), 0, uint32(len(ip) + len(transport)), uint32(len(ip) + len(transport))} {
		w.file.Write(binary.NativeEndian.AppendUint32(nil, v))
	}
	w.file.Write(ip)
	w.file.Write(transport)
}

const (
	tapClientPort = 40000
	tapSegment    = 1400 // small enough for messages to span segments
)

// tcp writes segments between a port of the server and the client.
func (w *wiretap) tcp(port uint16, fromServer bool, data []byte) {
	from, to := uint16(tapClientPort), port
	if fromServer {
		from, to = port, tapClientPort
	}
	for segment := range slices.Chunk(data, tapSegment) {
		h := binary.BigEndian.AppendUint16(nil, from)
		h = binary.BigEndian.AppendUint16(h, to)
		h = binary.BigEndian.AppendUint32(h, 1+w.sequence[[2]uint16{from, to}])
		h = binary.BigEndian.AppendUint32(h, 1+w.sequence[[2]uint16{to, from}])
		h = append(h, 0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0) // 20 bytes, PSH and ACK
		w.packet(unix.IPPROTO_TCP, fromServer, append(h, segment...))
		w.sequence[[2]uint16{from, to}] += uint32(len(segment))
	}
}

// udp writes one datagram of the server.
func (w *wiretap) udp(port uint16, data []byte) {
	h := binary.BigEndian.AppendUint16(nil, port)
	h = binary.BigEndian.AppendUint16(h, tapClientPort)
	h = binary.BigEndian.AppendUint16(h, uint16(8+len(data)))
	w.packet(unix.IPPROTO_UDP, true, append(append(h, 0, 0), data...))
}

// tapped is the client's end of a control connection.
type tapped struct {
	net.Conn
	tap *wiretap
}

func (c *tapped) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.tap.tcp(rpcap.DefaultPort, true, b[:n])
	return n, err
}

func (c *tapped) Write(b []byte) (int, error) {
	c.tap.tcp(rpcap.DefaultPort, false, b)
	return c.Conn.Write(b)
}

// converse makes a session say everything that one can say.
func converse(t *testing.T, tap *wiretap) {
	host := newHost()
	host.interfaces = everyInterface()
	server, conn := net.Pipe()
	r := startOn(t, nullAuth, host, server, &tapped{conn, tap}, nil)
	answers := map[rpcap.Type]int{}
	ask := func(request string) {
		t.Helper()
		r.send(request)
		answers[rpcap.ParseHeader(r.receive()).Type]++
	}
	ask(listReq)
	ask("00 08 0000 00000004 00000000")
	r.auth()
	ask(listReq)
	ask(statsReq)
	ask(endCap)
	ask(startAll)
	ask("00 05 0000 00000010" + retAll)
	ask("00 03 0000 00000007 6e6f7375636830")
	r.open()
	ask("000b 0000 00000008 01000000 00000001")
	ask("000b 0000 00000004 01000000")
	ask("00 04 0000 00000008 00040000 00000005")
	data := r.capture()
	host.last().Push(ethernet(60, 1), ethernet(9000, 2), ethernet(60, 3))
	tap.tcp(pipePort, true, wholePackets(t, data, 3))
	ask("00 05 0000 00000010" + retAll)
	ask("00 05 0000 00000010 0001 0000 00000001 0000 00 00 00000001")
	ask(startAll)
	ask(statsReq)
	ask(endCap)
	r.send(startDatagram)
	r.expect(dialStarted)
	buf := make([]byte, 1<<16)
	for i := range 3 {
		host.last().Push(ethernet(60+1000*i, byte(i)))
		n, err := r.data.dialed.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		tap.udp(pipePort, buf[:n])
	}
	host.last().Fail(&afpacket.InterfaceGoneError{Err: unix.ENETDOWN})
	r.expectError(9, "Error reading the packets: The interface disappeared")
	r.expectEOF()
	if reason := r.wait(); reason != session.ReasonDevice {
		t.Error(reason)
	}
	for kind := rpcap.TypeFindAllIfReply; kind <= rpcap.TypeSetSamplingReply; kind++ {
		if kind.Known() && kind&rpcap.TypeReply != 0 && answers[kind] == 0 &&
			kind != rpcap.TypeAuthReply && kind != rpcap.TypeOpenReply && kind != rpcap.TypeStartCapReply { // these by the helpers
			t.Errorf("%v was not among the answers", kind)
		}
	}
}

// wholePackets reads n PACKET messages with their headers.
func wholePackets(t *testing.T, conn net.Conn, n int) (wire []byte) {
	t.Helper()
	for _, body := range packets(t, conn, n) {
		wire = append(rpcap.AppendHeader(wire, rpcap.Header{Type: rpcap.TypePacket, Len: uint32(len(body))}), body...)
	}
	return wire
}

// everyInterface is a listing with every kind of address, longer than 64 KiB.
func everyInterface() (list []rpcap.Interface) {
	v4, v6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	for i := range 200 {
		list = append(list, rpcap.Interface{
			Name: "eth" + strconv.Itoa(i), Description: strings.Repeat("d", i%3), Flags: rpcap.InterfaceFlags(i % 64),
			Addresses: []rpcap.InterfaceAddress{
				{Addr: v4, Netmask: netip.MustParseAddr("255.255.255.0"), Broadcast: netip.MustParseAddr("192.0.2.255")},
				{Addr: v6, Netmask: netip.MustParseAddr("ffff::"), Destination: v6},
				{Addr: netip.MustParseAddr("fe80::1%7")},
			}[:i%4],
		})
	}
	return list
}

// tshark runs the reference's reader on the packets that a display filter
// passes, and returns their fields.
func tshark(t *testing.T, file, filter string, fields ...string) (lines [][]string) {
	t.Helper()
	path, err := exec.LookPath("tshark")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	// What the frames in PACKET messages hold is not the question.
	cmd := exec.Command(path, "-n", "-r", file, "-o", "rpcap.decode_content:FALSE", "-Y", filter, "-T", "fields", "-E", "occurrence=a")
	for _, f := range fields {
		cmd.Args = append(cmd.Args, "-e", f)
	}
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	for line := range strings.Lines(string(out)) {
		lines = append(lines, strings.Split(strings.TrimSuffix(line, "\n"), "\t"))
	}
	return lines
}

// Wireshark's dissector understands everything that a session says, message by
// message, and finds nothing wrong with it. It knows RPCAP by its looks alone,
// and error codes above 17 not at all, so these are not said here.
func TestTsharkUnderstandsEveryMessage(t *testing.T) {
	tap := newWiretap()
	converse(t, tap)
	file := filepath.Join(t.TempDir(), "session.pcap")
	if err := os.WriteFile(file, tap.file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, line := range tshark(t, file, "ip.src==192.0.2.1", "rpcap.type", "rpcap.ifname", "_ws.malformed", "_ws.short",
		"rpcap.no_more_data", "rpcap.caplen_too_big", "rpcap.if_unknown", "tcp.analysis.flags") {
		for kind := range strings.SplitSeq(line[0], ",") {
			count[kind]++
		}
		count["interfaces"] += strings.Count(line[1], "eth")
		if complaint := strings.Join(line[2:], ""); complaint != "" {
			t.Errorf("tshark complains about %s: %q", line[0], line[2:])
		}
	}
	want := map[string]int{"": count[""], "interfaces": 200} // segments that only carry a part have no type
	for kind, n := range map[rpcap.Type]int{
		rpcap.TypeError: 11, rpcap.TypePacket: 6, rpcap.TypeFindAllIfReply: 1, rpcap.TypeOpenReply: 1, rpcap.TypeStartCapReply: 2,
		rpcap.TypeUpdateFilterReply: 1, rpcap.TypeAuthReply: 1, rpcap.TypeStatsReply: 2, rpcap.TypeEndCapReply: 1, rpcap.TypeSetSamplingReply: 1,
	} {
		want[fmt.Sprintf("%#02x", uint8(kind))] = n
	}
	if diff := cmp.Diff(want, count); diff != "" {
		t.Errorf("tshark finds other messages (-want +got):\n%s", diff)
	}
}
