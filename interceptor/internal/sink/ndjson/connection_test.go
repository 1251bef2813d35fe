package ndjson

import (
	"strings"
	"testing"

	capstanv1 "capstan/proto/capstan/v1"
)

func TestConnectionsAreAsDocumented(t *testing.T) {
	ends := &capstanv1.Connection{
		Client: &capstanv1.Traffic{Bytes: 1, Segments: 2, GapBytes: 3}, Server: &capstanv1.Traffic{Bytes: 4},
		Close: capstanv1.Close_CLOSE_CAPTURE_ENDED, LooksLike: "ssh", Midstream: true,
	}
	const wantEnds = `"connection":{"client":{"bytes":1,"segments":2,"gapBytes":3},"server":{"bytes":4,"segments":0,"gapBytes":0},"close":"captureEnded","looksLike":"ssh","midstream":true}`
	for _, tt := range []struct {
		x    *capstanv1.Exchange
		want string
	}{
		{&capstanv1.Exchange{Protocol: capstanv1.Protocol_PROTOCOL_OTHER}, ""},
		{&capstanv1.Exchange{Protocol: capstanv1.Protocol_PROTOCOL_TLS, Tls: &capstanv1.Tls{
			ServerName: "h", AlpnOffered: []string{"h2", "http/1.1"}, Alpn: "h2", Version: 0x304, VersionsOffered: []uint32{0x304, 0x303}, CipherSuite: 0x1301,
			CipherSuiteName: "TLS_AES_128_GCM_SHA256", ClientHello: true, ServerHello: true, Alerted: true, Alert: 0, EncryptedBytes: 9,
		}}, `,"tls":{"version":772,"cipherSuite":4865,"encryptedBytes":9,"serverName":"h","alpn":"h2","cipherSuiteName":"TLS_AES_128_GCM_SHA256",` +
			`"alpnOffered":["h2","http/1.1"],"versionsOffered":[772,771],"clientHello":true,"serverHello":true,"helloRetry":false,"encryptedClientHello":false,` +
			`"resumptionOffered":false,"alert":0}`},
		{&capstanv1.Exchange{Protocol: capstanv1.Protocol_PROTOCOL_WEBSOCKET, StartTimeUnixNs: 10, Websocket: &capstanv1.WebSocket{
			Client:      &capstanv1.WebSocketTraffic{Frames: 1, TextMessages: 2, BinaryMessages: 3, Pings: 4, Pongs: 5, MessageBytes: 6, CompressedMessages: 7, Resyncs: 8, BrokenMessages: 9, MalformedFrames: 10, CloseCode: 1},
			Server:      &capstanv1.WebSocketTraffic{Closed: true, CloseCode: 1000, CloseReason: "bye"},
			Compression: true, Subprotocol: "chat",
			Messages: []*capstanv1.WebSocketMessage{
				{FromClient: true, Opcode: 1, FirstByteUnixNs: 11, LastByteUnixNs: 13, Size: 2, Frames: 1, Content: []byte("hi"), ContentSize: 2},
				{Opcode: 9, FirstByteUnixNs: 10, LastByteUnixNs: 10, Compressed: true, Incomplete: true},
			},
		}}, `,"websocket":{"client":{"frames":1,"textMessages":2,"binaryMessages":3,"pings":4,"pongs":5,"messageBytes":6,"compressedMessages":7,"resyncs":8,"brokenMessages":9,"malformedFrames":10},` +
			`"server":{"frames":0,"textMessages":0,"binaryMessages":0,"pings":0,"pongs":0,"messageBytes":0,"compressedMessages":0,"resyncs":0,"brokenMessages":0,"malformedFrames":0,"closeCode":1000,"closeReason":"bye"},` +
			`"compression":true,"subprotocol":"chat","messages":[` +
			`{"fromClient":true,"opcode":1,"firstByteNs":1,"lastByteNs":3,"size":2,"frames":1,"compressed":false,"incomplete":false,"content":"aGk=","contentSize":2},` +
			`{"fromClient":false,"opcode":9,"firstByteNs":0,"lastByteNs":0,"size":0,"frames":0,"compressed":true,"incomplete":true}]}`},
	} {
		tt.x.Connection = ends
		if got := string(Append(nil, tt.x)); !strings.HasSuffix(got, wantEnds+tt.want+"}\n") {
			t.Errorf("got\n%swant\n%s", got, wantEnds+tt.want)
		}
	}
}
