package engine

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	capstanv1 "capstan/proto/capstan/v1"
)

// call is what the judge, tshark, says of one stream. What it doesn't know is
// null or not there.
type call struct {
	H2Stream     uint32   `json:"h2_stream"`
	Client       string   `json:"client"`
	Server       string   `json:"server"`
	Method       *string  `json:"method"`
	Path         *string  `json:"path"`
	Authority    *string  `json:"authority"`
	Status       string   `json:"status"`
	ReqData      uint64   `json:"req_data"`
	RespData     uint64   `json:"resp_data"`
	ReqMessages  []uint32 `json:"grpc_msgs_req"`
	RespMessages []uint32 `json:"grpc_msgs_resp"`
	GrpcStatus   string   `json:"grpc_status"`
}

// otherwise are streams that are told in another way than the judge does, and
// why, by file, stream and server.
var otherwise = map[string]string{
	"deepflow/http-grpc-server-stream.pcap 1 127.0.0.1:9001":         "the judge withholds what follows a lost segment",
	"deepflow/http-grpc-unary.pcap 1 10.1.23.21:30035":               "the judge counts nothing of a frame that is not whole",
	"deepflow/http-grpc-unknown.pcap 928401 10.233.64.72:7000":       "the judge takes no messages where the path is unknown",
	"deepflow/http-http2-multi.pcap 18131981 10.233.4.205:3550":      "the judge takes no messages where the content type is unknown",
	"deepflow/http-http2-multi.pcap 18131983 10.233.4.205:3550":      "the judge takes no messages where the content type is unknown",
	"suricata-verify/dns-over-http2.pcap 7 8.8.4.4:80":               "the response came after the client had reset the stream: nobody read it",
	"suricata-verify/http2-userinfo-authority.pcap 1 172.64.80.1:80": "user information is a credential and left out",
}

// TestHTTP2CapturesAgainstIndependentJudge holds that the streams of HTTP/2 are
// told as tshark tells them.
func TestHTTP2CapturesAgainstIndependentJudge(t *testing.T) {
	dir := capturesDir(t)
	calls := 0
	for _, row := range captureIndex(t, dir) {
		data, err := os.ReadFile(filepath.Join(dir, row.expected))
		if err != nil {
			t.Fatal(err)
		}
		var e struct {
			Calls []call `json:"http2_calls"`
		}
		if err := json.Unmarshal(data, &e); err != nil {
			t.Fatal(err)
		}
		if len(e.Calls) == 0 {
			continue
		}
		t.Run(row.file, func(t *testing.T) {
			records, snapshot := readCapture(t, filepath.Join(dir, row.file))
			checkSnapshot(t, &snapshot, records)
			for _, want := range e.Calls {
				calls++
				x, differences := closest(records, &want)
				why, known := otherwise[fmt.Sprintf("%s %d %s", row.file, want.H2Stream, want.Server)]
				switch {
				case known && len(differences) == 0:
					t.Errorf("stream %d is told as the judge does; the table says otherwise", want.H2Stream)
				case known:
					t.Logf("stream %d: %s (%s)", want.H2Stream, strings.Join(differences, ", "), why)
				case len(differences) > 0:
					t.Errorf("stream %d: %s; %v", want.H2Stream, strings.Join(differences, ", "), x)
				}
			}
		})
	}
	t.Logf("%d calls", calls)
}

// closest returns the record of the stream that want tells of: the judge names
// connections by one end only, so the one that differs least.
func closest(records []*capstanv1.Exchange, want *call) (x *capstanv1.Exchange, differences []string) {
	differences = []string{"not told"}
	for _, y := range records {
		end := func(e *capstanv1.Endpoint) string { return fmt.Sprintf("%s:%d", e.Address, e.Port) }
		if y.StreamId != want.H2Stream || want.Client != "" && want.Client != end(y.Client) || want.Server != "" && want.Server != end(y.Server) {
			continue
		}
		if d := compareCall(y, want); x == nil || len(d) < len(differences) {
			x, differences = y, d
		}
	}
	return x, differences
}

// compareCall returns where x differs from what the judge knows.
func compareCall(x *capstanv1.Exchange, want *call) (differences []string) {
	differ := func(what string, got, want any) {
		if got != want {
			differences = append(differences, fmt.Sprintf("%s %v, want %v", what, got, want))
		}
	}
	text := func(what, got string, want *string) {
		if want != nil {
			differ(what, got, *want)
		}
	}
	text("method", x.GetRequest().GetMethod(), want.Method)
	text("path", x.GetRequest().GetTarget(), want.Path)
	text("authority", x.GetRequest().GetAuthority(), want.Authority)
	if want.Status != "" {
		differ("status", fmt.Sprint(x.GetResponse().GetStatus()), want.Status)
	}
	differ("request body", seen(x.GetRequest().GetBody()), want.ReqData)
	differ("response body", seen(x.GetResponse().GetBody()), want.RespData)
	if got := x.GetGrpc().GetRequestMessages().GetLengths(); !slices.Equal(got, want.ReqMessages) {
		differ("request messages", fmt.Sprint(got), fmt.Sprint(want.ReqMessages))
	}
	if got := x.GetGrpc().GetResponseMessages().GetLengths(); !slices.Equal(got, want.RespMessages) {
		differ("response messages", fmt.Sprint(got), fmt.Sprint(want.RespMessages))
	}
	if want.GrpcStatus != "" {
		differ("gRPC status known", x.GetGrpc().GetStatusKnown(), true)
		differ("gRPC status", fmt.Sprint(x.GetGrpc().GetStatus()), want.GrpcStatus)
	}
	return differences
}

// seen is how many bytes of a body were captured: the judge counts no others.
func seen(b *capstanv1.Body) uint64 { return b.GetSize() - b.GetGapBytes() }
