package source

import (
	"testing"
	"time"

	"capstan/pkg/rpcap"
	"capstan/pkg/rpcap/rpcapclient"
)

func TestServerCountersAreWidened(t *testing.T) {
	var c Counters
	c.setServer(rpcap.StatsReply{Received: 1<<32 - 10, Sent: 1<<32 - 20, KernelDropped: 5})
	c.setServer(rpcap.StatsReply{Received: 10, Sent: 5, KernelDropped: 7}) // wrapped
	c.setServer(rpcap.StatsReply{})                                        // the reference after ENDCAP
	s := c.snapshot()
	if s.ServerReceived != 1<<32+10 || s.ServerSent != 1<<32+5 || s.ServerDropped != 7 {
		t.Errorf("%+v", s)
	}
}

func TestCountersAddUpOverSessions(t *testing.T) {
	var c Counters
	for range 2 {
		c.setStream(rpcapclient.StreamStats{Frames: 3, Bytes: 30})
		c.setServer(rpcap.StatsReply{Received: 5, Sent: 5})
		c.endSession(rpcapclient.StreamStats{Frames: 5, Bytes: 50, Missing: 1})
	}
	s := c.snapshot()
	if s.Frames != 10 || s.Bytes != 100 || s.Missing != 2 || s.ServerSent != 10 || s.Sessions != 2 || s.Connected {
		t.Errorf("%+v", s)
	}
}

func TestOutages(t *testing.T) {
	var c Counters
	start := time.Now()
	for i := range maxOutages + 5 {
		c.lost(start.Add(time.Duration(2*i)*time.Second), "gone")
		c.regained(start.Add(time.Duration(2*i+1) * time.Second))
	}
	s := c.snapshot()
	if s.OutageCount != maxOutages+5 || len(s.Outages) != maxOutages || s.OutageTime != (maxOutages+5)*time.Second {
		t.Errorf("%d outages, %d listed, %v", s.OutageCount, len(s.Outages), s.OutageTime)
	}
	c.lost(time.Now().Add(-time.Minute), "gone")
	if s := c.snapshot(); s.OutageTime < (maxOutages+5)*time.Second+time.Minute || !s.Outages[maxOutages-1].To.IsZero() {
		t.Errorf("an outage that lasts counts %v", s.OutageTime)
	}
}
