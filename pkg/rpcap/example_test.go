package rpcap_test

import (
	"bytes"
	"fmt"
	"log"

	"capstan/pkg/rpcap"
)

func ExampleAppend() {
	wire := rpcap.Append(nil, &rpcap.OpenRequest{Device: "eth0"})
	fmt.Printf("% x\n", wire)
	// Output: 00 03 00 00 00 00 00 04 65 74 68 30
}

func ExampleDecode() {
	wire := rpcap.Append(nil, &rpcap.StatsReply{Received: 1000, KernelDropped: 2, Sent: 998})

	h, body, err := rpcap.NewReader(bytes.NewReader(wire), nil).Next()
	if err != nil {
		log.Fatal(err)
	}
	var stats rpcap.StatsReply
	if err := rpcap.Decode(h, body, &stats); err != nil {
		log.Fatal(err)
	}
	fmt.Println(h.Type, stats.Received, stats.KernelDropped, stats.Sent)
	// Output: RPCAP_MSG_STATS_REPLY 1000 2 998
}

func ExampleParseURL() {
	u, err := rpcap.ParseURL("rpcaps://bob:secret@[2001:db8::1]/eth0?dir=in")
	if err != nil {
		log.Fatal(err)
	}
	d, err := rpcap.ParseDevice(u.Device)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(u.Address(), d.Name, d.Direction)
	fmt.Println(u)
	// Output:
	// [2001:db8::1]:2002 eth0 in
	// rpcaps://bob@[2001:db8::1]:2002/eth0?dir=in
}
