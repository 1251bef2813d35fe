package sockfilter

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// TestNetlinkAttributesAgree has Linux's classic filters as the oracle: X and A
// come from the frame's first bytes.
func TestNetlinkAttributesAgree(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 1))
	s := newSocketPair(t)
	for _, ad := range []uint32{adAttribute, adNestAttribute} {
		code := []bpf.RawInstruction{
			{Op: opLoadAbsB, K: 0}, {Op: opTAX}, {Op: opLoadAbsB, K: 1},
			{Op: opLoadAbsW, K: offsetAncillary + ad}, {Op: opAddK, K: 1}, {Op: opRetA},
		}
		p := mustCompile(t, code)
		if err := s.attachClassic(code); err != nil {
			t.Fatal(err)
		}
		found := 0
		for range 3000 {
			frame := make([]byte, 8+r.IntN(56))
			frame[0], frame[1] = byte(r.IntN(4)), byte(r.IntN(16))
			at := int(frame[1])
			if ad == adNestAttribute && at+8 < len(frame) {
				binary.NativeEndian.PutUint16(frame[at:], uint16(len(frame)-at-r.IntN(2)))
				at += 4
			}
			for ; at >= 2 && at+4 < len(frame); at += 4 + 4*r.IntN(4) {
				binary.NativeEndian.PutUint16(frame[at:], uint16(4+r.IntN(14)))
				binary.NativeEndian.PutUint16(frame[at+2:], uint16(r.IntN(4))|uint16(r.IntN(4))<<14)
			}
			got, want := min(p.Run(frame, len(frame)), uint32(len(frame))), s.verdict(frame)
			if got != want {
				t.Fatalf("load %d: interpreter %d, kernel %d, frame %x", ad, got, want, frame)
			}
			if got > 1 {
				found++
			}
		}
		if found < 100 {
			t.Errorf("load %d: only %d found", ad, found)
		}
	}
}

// TestPayloadOffsetAgrees has Linux's flow dissector as the oracle.
func TestPayloadOffsetAgrees(t *testing.T) {
	l := newLink(t)
	fd, rx := openPacketSocket(t, l.sender), openPacketSocket(t, l.receiver)
	r := rand.New(rand.NewPCG(6, 2))
	code := []bpf.RawInstruction{{Op: opLoadAbsW, K: offsetAncillary + adPayloadOffset}, {Op: opAddK, K: 1}, {Op: opRetA}}
	s := &socketPair{t: t, rx: rx}
	if err := s.attachClassic(code); err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(rx, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: l.receiverIndex}); err != nil {
		t.Fatal(err)
	}
	tcp := segment(1, 2, "payload")
	frames := append(testFrames(r),
		ethernet(0x0800, ipv4(4, 0, 0, ipv4(6, 0, 4, tcp))...),
		ethernet(0x0800, ipv4(41, 0, 0, ipv6(17, tcp))...),
		ethernet(0x0800, ipv4(41, 0x2000, 0, ipv6(17, tcp))...),
		ethernet(0x0800, ipv4(132, 0, 0, tcp)...),
		ethernet(0x86dd, ipv6(0, append([]byte{6, 1, 1, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, tcp...))...),
		ethernet(0x86dd, ipv6(44, append([]byte{6, 0, 0, 1, 0, 0, 0, 0}, tcp...))...),
		ethernet(0x86dd, ipv6(44, append([]byte{6, 0, 0, 8, 0, 0, 0, 0}, tcp...))...),
	)
	p := mustCompile(t, code)
	buf := make([]byte, 1<<16)
	for _, f := range frames {
		if len(f) <= 14 {
			continue
		}
		send(t, fd, l.senderIndex, f)
		if _, err := unix.Poll([]unix.PollFd{{Fd: int32(rx), Events: unix.POLLIN}}, int(testWait.Milliseconds())); err != nil {
			t.Fatal(err)
		}
		n, _, err := unix.Recvfrom(rx, buf, 0)
		if err != nil {
			t.Fatal(err)
		}
		skbs, tags := received([][]byte{f}, l.receiverIndex)
		packet := clientPacket(ViewFrame, tags[0], skbs[0])
		want := int(p.RunPacket(packet))
		if tags[0] == tagged && want > 1 {
			want -= tagLen // the kernel counts without the tag
		}
		if got := n; got != min(want, len(skbs[0].data)) {
			t.Errorf("kernel %d, interpreter %d, frame %x", got-1, want-1, f)
		}
	}
}
