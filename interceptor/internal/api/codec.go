package api

import (
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// encodedWatch is a [capstanv1.WatchResponse] with an exchange that is encoded
// already, as all watchers share it.
type encodedWatch struct {
	exchange []byte
	token    string
}

// Numbers of fields: of WatchResponse and WatchedExchange.
const (
	numberEvent    protowire.Number = 1
	numberExchange protowire.Number = 1
	numberToken    protowire.Number = 2
)

// frame returns what is before and behind the exchange.
func (e *encodedWatch) frame() (before, behind []byte) {
	behind = protowire.AppendString(protowire.AppendTag(nil, numberToken, protowire.BytesType), e.token)
	inner := protowire.AppendVarint(protowire.AppendTag(nil, numberExchange, protowire.BytesType), uint64(len(e.exchange)))
	before = protowire.AppendTag(nil, numberEvent, protowire.BytesType)
	before = protowire.AppendVarint(before, uint64(len(inner)+len(e.exchange)+len(behind)))
	return append(before, inner...), behind
}

// codec is that of protobuf, but for what is encoded already, which it doesn't copy.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2(proto.Name)} }

// Marshal implements encoding.CodecV2.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	e, ok := v.(*encodedWatch)
	if !ok {
		return c.CodecV2.Marshal(v)
	}
	before, behind := e.frame()
	return mem.BufferSlice{mem.SliceBuffer(before), mem.SliceBuffer(e.exchange), mem.SliceBuffer(behind)}, nil
}
