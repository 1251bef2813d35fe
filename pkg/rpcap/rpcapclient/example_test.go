package rpcapclient_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"

	"capstan/pkg/capture"
	"capstan/pkg/rpcap"
	"capstan/pkg/rpcap/rpcapclient"
	"capstan/pkg/rpcap/rpcaptest"
)

// A session from Dial to Close, with a scripted server in rpcapd's place.
func Example() {
	server, err := rpcaptest.Serve(rpcaptest.Config{},
		rpcaptest.Authenticate(),
		rpcaptest.Open("eth0"),
		rpcaptest.ExpectType(rpcap.TypeStartCapRequest),
		rpcaptest.StartData(0),
		rpcaptest.SendData(rpcaptest.AppendPacket(nil, rpcap.PacketHeader{Number: 1, Len: 1514}, make([]byte, 64))),
		rpcaptest.Expect(&rpcap.EndCapRequest{}), rpcaptest.CloseData(), rpcaptest.Send(&rpcap.EndCapReply{}),
		rpcaptest.ExpectEnd(),
	)
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()

	ctx := context.Background()
	c, err := rpcapclient.Dial(ctx, server.URL(), rpcapclient.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	link, err := c.Open(ctx, "eth0")
	if err != nil {
		log.Fatal(err)
	}
	s, err := c.Start(ctx, rpcapclient.StartRequest{SnapLen: 64})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()

	fmt.Println(link, c.ByteOrder() == binary.LittleEndian)
	for ended := false; ; {
		var f capture.Frame
		err := s.Next(&f)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%d of %d bytes\n", len(f.Data), f.Len)
		if !ended {
			if err := c.EndCapture(ctx); err != nil {
				log.Fatal(err)
			}
			ended = true
		}
	}
	// Output:
	// EN10MB true
	// 64 of 1514 bytes
}
