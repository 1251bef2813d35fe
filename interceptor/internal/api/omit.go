package api

import (
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	capstanv1 "capstan/proto/capstan/v1"
)

// withoutContent returns x without what bodies and WebSocket messages contain. x,
// which other watchers have, too, stays as it is; what is not left out is shared
// with it, and so must not be changed.
func withoutContent(x *capstanv1.Exchange) *capstanv1.Exchange {
	x = shallow(x)
	if hasContent(x.GetRequest().GetBody()) {
		x.Request = shallow(x.GetRequest())
		x.Request.Body = emptied(x.GetRequest().GetBody())
	}
	if hasContent(x.GetResponse().GetBody()) {
		x.Response = shallow(x.GetResponse())
		x.Response.Body = emptied(x.GetResponse().GetBody())
	}
	if w := x.GetWebsocket(); slices.ContainsFunc(w.GetMessages(), func(m *capstanv1.WebSocketMessage) bool { return len(m.GetContent()) > 0 }) {
		x.Websocket = shallow(w)
		x.Websocket.Messages = make([]*capstanv1.WebSocketMessage, len(w.GetMessages()))
		for i, m := range w.GetMessages() {
			m = shallow(m)
			m.Content, m.Incomplete = nil, m.GetSize() > 0
			x.Websocket.Messages[i] = m
		}
	}
	return x
}

func hasContent(b *capstanv1.Body) bool { return len(b.GetContent())+len(b.GetDecoded()) > 0 }

func emptied(b *capstanv1.Body) *capstanv1.Body {
	b = shallow(b)
	b.Content, b.Decoded, b.Truncated = nil, nil, true
	return b
}

// shallow returns a message with the fields of m: what they refer to is shared.
func shallow[M proto.Message](m M) M {
	from := m.ProtoReflect()
	to := from.New()
	from.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		to.Set(f, v)
		return true
	})
	to.SetUnknown(from.GetUnknown())
	return to.Interface().(M)
}
