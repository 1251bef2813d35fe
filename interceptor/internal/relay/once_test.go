package relay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"capstan/interceptor/internal/delivery"
	"capstan/interceptor/internal/delivery/deliverytest"
	capstanv1 "capstan/proto/capstan/v1"
)

type listSink struct {
	ids []string
	err error
}

func (s *listSink) Deliver(_ context.Context, batch []*delivery.Record) error {
	if s.err != nil {
		return s.err
	}
	for _, r := range batch {
		x, err := r.Exchange()
		if err != nil {
			return &delivery.RejectError{Rejected: 1, Err: err}
		}
		s.ids = append(s.ids, x.GetId())
	}
	return nil
}

func (*listSink) Close() error { return nil }

func numbered(t testing.TB, numbers ...int) (batch []*delivery.Record) {
	t.Helper()
	for _, n := range numbers {
		batch = append(batch, deliverytest.Record(t, &capstanv1.Exchange{Id: fmt.Sprint(n)}))
	}
	return batch
}

func TestOnceLeavesRepeatsOut(t *testing.T) {
	s := new(listSink)
	o := newOnce(s, 3)
	deliver := func(want error, numbers ...int) {
		t.Helper()
		if err := o.Deliver(t.Context(), numbered(t, numbers...)); !errors.Is(err, want) {
			t.Fatal(err)
		}
	}
	deliver(nil, 1, 2, 1)
	deliver(nil, 2, 3, 3)
	s.err = errors.New("down")
	deliver(s.err, 4) // not delivered, so not remembered
	s.err = nil
	deliver(nil, 4, 2) // forgets 1
	deliver(nil, 1, 4) // forgets 2
	if want := []string{"1", "2", "3", "4", "1"}; !slices.Equal(s.ids, want) {
		t.Errorf("%q, want %q", s.ids, want)
	}
	var reject *delivery.RejectError
	if err := o.Deliver(t.Context(), []*delivery.Record{{Raw: []byte("nonsense")}}); !errors.As(err, &reject) {
		t.Errorf("what can't be read is for the sink to judge: %v", err)
	}
}

func TestOnceRemembersNothing(t *testing.T) {
	s := new(listSink)
	if err := newOnce(s, 0).Deliver(t.Context(), numbered(t, 1, 1)); err != nil || len(s.ids) != 2 {
		t.Errorf("%q, %v", s.ids, err)
	}
}
