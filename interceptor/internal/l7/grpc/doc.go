// Package grpc follows the calls of gRPC and gRPC-Web in what HTTP carries:
// header fields and the bytes of bodies (the documents PROTOCOL-HTTP2 and
// PROTOCOL-WEB of the grpc repository).
//
// A [Call] belongs to one exchange of any HTTP version. Its user tells it the
// fields and, by [Messages], the bytes and gaps of both bodies as they come.
package grpc
