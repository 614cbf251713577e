// Registry-referrers is an in-memory registry with the referrers API. It
// prints "listening on ADDRESS" once it is ready, and ends with its process.
// TLS and a password are the server's around it: the library has neither.
package main

import (
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"

	"cuelabs.dev/go/oci/ociregistry/ocimem"
	"cuelabs.dev/go/oci/ociregistry/ociserver"
)

type options struct {
	address          string
	immutable        bool
	noReferrers      bool
	certificate, key string
	user, password   string
}

func main() {
	var opts options
	flag.StringVar(&opts.address, "listen", "127.0.0.1:0", "address to listen on; port 0 picks a free one")
	flag.BoolVar(&opts.immutable, "immutable-tags", false, "refuse to move a tag")
	flag.BoolVar(&opts.noReferrers, "no-referrers", false, "answer 404 to the referrers API")
	flag.StringVar(&opts.certificate, "tls-certificate", "", "PEM file; with it, TLS is spoken")
	flag.StringVar(&opts.key, "tls-key", "", "PEM file of the certificate's key")
	flag.StringVar(&opts.user, "user", "", "with it, Basic authentication is asked for")
	flag.StringVar(&opts.password, "password", "", "password of the user")
	flag.Parse()
	if err := serve(opts); err != nil {
		fmt.Fprintln(os.Stderr, "registry-referrers:", err)
		os.Exit(1)
	}
}

func serve(opts options) error {
	listener, err := net.Listen("tcp", opts.address)
	if err != nil {
		return err
	}
	memory := ocimem.NewWithConfig(&ocimem.Config{ImmutableTags: opts.immutable})
	handler := ociserver.New(memory, &ociserver.Options{DisableReferrersAPI: opts.noReferrers})
	if opts.user != "" {
		handler = guarded(handler, opts)
	}
	fmt.Println("listening on", listener.Addr())
	if opts.certificate != "" {
		return http.ServeTLS(listener, handler, opts.certificate, opts.key)
	}
	return http.Serve(listener, handler)
}

func guarded(next http.Handler, opts options) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, ok := r.BasicAuth()
		if !ok || user != opts.user || password != opts.password {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`, http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}
