package otlp

import (
	"encoding/binary"
	"sort"

	commonpb "go.opentelemetry.io/proto/slim/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/slim/otlp/metrics/v1"
	"google.golang.org/protobuf/proto"
)

// httpBounds are those of the conventions for http.server.request.duration, in
// seconds; rpcBounds those for rpc.server.duration, in milliseconds.
var (
	httpBounds = []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}
	rpcBounds  = []float64{5, 10, 25, 50, 75, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10000}
)

// histogram gathers the durations of a batch by attributes.
type histogram struct {
	name, unit, description string
	bounds                  []float64
	points                  map[string]*metricspb.HistogramDataPoint
	order                   []*metricspb.HistogramDataPoint
}

// add adds a value; key tells the attributes apart.
func (h *histogram) add(key []byte, attributes []*commonpb.KeyValue, value float64, from, to uint64) {
	p := h.points[string(key)]
	if p == nil {
		p = &metricspb.HistogramDataPoint{
			Attributes: attributes, StartTimeUnixNano: from, ExplicitBounds: h.bounds, BucketCounts: make([]uint64, len(h.bounds)+1),
			Sum: proto.Float64(0), Min: proto.Float64(value), Max: proto.Float64(value),
		}
		h.points[string(key)] = p
		h.order = append(h.order, p)
	}
	p.StartTimeUnixNano, p.TimeUnixNano = min(p.StartTimeUnixNano, from), max(p.TimeUnixNano, to)
	p.Count++
	*p.Sum += value
	*p.Min, *p.Max = min(*p.Min, value), max(*p.Max, value)
	p.BucketCounts[sort.SearchFloat64s(h.bounds, value)]++ // (lower, upper]
}

// appendKey appends what tells attributes apart from others.
func appendKey(key []byte, attributes []*commonpb.KeyValue) []byte {
	for _, a := range attributes {
		key = append(append(key, a.Key...), 0) // which no key has
		switch v := a.Value.Value.(type) {
		case *commonpb.AnyValue_StringValue:
			key = append(binary.AppendUvarint(key, uint64(len(v.StringValue))), v.StringValue...)
		case *commonpb.AnyValue_IntValue:
			key = binary.AppendVarint(key, v.IntValue)
		}
	}
	return key
}

func (h *histogram) metric() *metricspb.Metric {
	return &metricspb.Metric{Name: h.name, Unit: h.unit, Description: h.description, Data: &metricspb.Metric_Histogram{Histogram: &metricspb.Histogram{
		AggregationTemporality: metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_DELTA, DataPoints: h.order,
	}}}
}

// metrics returns the histograms of those records that have both halves.
func (b *batch) metrics() []*metricspb.Metric {
	http := histogram{name: "http.server.request.duration", unit: "s", description: "Duration of HTTP server requests, as seen on the wire.",
		bounds: httpBounds, points: map[string]*metricspb.HistogramDataPoint{}}
	rpc := histogram{name: "rpc.server.duration", unit: "ms", description: "Duration of inbound RPC, as seen on the wire.",
		bounds: rpcBounds, points: map[string]*metricspb.HistogramDataPoint{}}
	for i := range b.records {
		x := &b.records[i]
		if x.GetRequest() == nil || x.GetResponse() == nil {
			continue
		}
		from := x.GetStartTimeUnixNs()
		to := from + uint64(max(x.GetDurationNs(), 0))
		h, unit := &http, 1e9
		if x.GetGrpc() != nil {
			h, unit = &rpc, 1e6
		}
		common := x.attributes[:x.common:x.common]
		b.key = appendKey(b.key[:0], common)
		h.add(b.key, common, float64(x.GetDurationNs())/unit, from, to)
	}
	var all []*metricspb.Metric
	for _, h := range []*histogram{&http, &rpc} {
		if len(h.order) > 0 {
			all = append(all, h.metric())
		}
	}
	return all
}
