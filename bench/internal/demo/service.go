package demo

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// newService returns a small shop's API: enough variety to show methods,
// statuses, chunked and sized bodies.
func newService() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/products", func(w http.ResponseWriter, r *http.Request) {
		list := make([]map[string]any, 20)
		for i := range list {
			list[i] = map[string]any{"id": i + 1, "name": fmt.Sprintf("product %d", i+1), "price": 100*i + 99}
		}
		reply(w, http.StatusOK, list)
	})
	mux.HandleFunc("GET /api/products/{id}", func(w http.ResponseWriter, r *http.Request) {
		reply(w, http.StatusOK, map[string]any{"id": r.PathValue("id"), "stock": 7})
	})
	mux.HandleFunc("POST /api/orders", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Set-Cookie", "session=a-secret-that-is-masked; HttpOnly")
		reply(w, http.StatusCreated, map[string]any{"order": time.Now().UnixMilli(), "state": "accepted"})
	})
	mux.HandleFunc("GET /api/events", func(w http.ResponseWriter, r *http.Request) {
		for i := range 3 { // chunked, since it is flushed before its end
			fmt.Fprintf(w, "event: tick\ndata: %d\n\n", i)
			_ = http.NewResponseController(w).Flush() // a plain writer can't, and needn't
			time.Sleep(20 * time.Millisecond)
		}
	})
	mux.HandleFunc("DELETE /api/orders/{id}", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /api/report", func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, strings.Repeat("the report engine is on holiday\n", 3), http.StatusServiceUnavailable)
	})
	return mux
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // a client that left is none of our concern
}
