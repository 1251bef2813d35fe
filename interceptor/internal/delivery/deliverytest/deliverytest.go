// Package deliverytest makes records for tests of sinks and of what else takes them.
package deliverytest

import (
	"testing"

	"capstan/interceptor/internal/delivery"
	capstanv1 "capstan/proto/capstan/v1"
)

// Record returns x as a queue hands it to its sink.
func Record(t testing.TB, x *capstanv1.Exchange) *delivery.Record {
	t.Helper()
	raw, err := x.MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	return &delivery.Record{Raw: raw}
}

// Records returns a batch of such records.
func Records(t testing.TB, list ...*capstanv1.Exchange) []*delivery.Record {
	t.Helper()
	batch := make([]*delivery.Record, len(list))
	for i, x := range list {
		batch[i] = Record(t, x)
	}
	return batch
}
