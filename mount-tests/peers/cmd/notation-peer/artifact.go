package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/notaryproject/notation-go/registry"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	orasregistry "oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
)

// artifact is what a reference names: a manifest in a layout or a registry.
type artifact struct {
	repository registry.Repository
	descriptor ocispec.Descriptor
	// name is the path or HOST/REPOSITORY that the user wrote.
	name string
}

// String returns the form that commands print.
func (a artifact) String() string { return a.name + "@" + a.descriptor.Digest.String() }

// open finds the manifest that the reference names.
func open(ctx context.Context, opts options) (artifact, error) {
	found, wanted, err := locate(opts)
	if err != nil {
		return artifact{}, err
	}
	found.descriptor, err = found.repository.Resolve(ctx, wanted)
	if err != nil {
		return artifact{}, fmt.Errorf("failed to get manifest descriptor: %w", err)
	}
	if asked, err := digest.Parse(wanted); err == nil && asked != found.descriptor.Digest {
		return artifact{}, fmt.Errorf("asked for %s, got %s", asked, found.descriptor.Digest)
	}
	return found, nil
}

// locate opens the repository and returns the wanted tag or digest with it.
func locate(opts options) (artifact, string, error) {
	if opts.layout {
		return locateLayout(opts.reference)
	}
	reference, err := orasregistry.ParseReference(opts.reference)
	if err != nil {
		return artifact{}, "", fmt.Errorf("%q: %w", opts.reference, err)
	}
	if reference.Reference == "" {
		return artifact{}, "", fmt.Errorf("%q: missing tag or digest", opts.reference)
	}
	client := &auth.Client{Cache: auth.NewCache()}
	if opts.username != "" || opts.password != "" {
		credential := auth.Credential{Username: opts.username, Password: opts.password}
		client.Credential = auth.StaticCredential(reference.Host(), credential)
	}
	host, _, _ := strings.Cut(reference.Registry, ":")
	target := &remote.Repository{
		Client:    client,
		Reference: reference,
		PlainHTTP: opts.plainHTTP || host == "localhost",
	}
	if opts.forceTag {
		if err := target.SetReferrersCapability(false); err != nil {
			return artifact{}, "", err
		}
	}
	name := reference.Registry + "/" + reference.Repository
	return artifact{repository: registry.NewRepository(target), name: name}, reference.Reference, nil
}

func locateLayout(reference string) (artifact, string, error) {
	// A digest holds a colon itself, so the at sign is looked for first.
	cut := strings.LastIndex(reference, "@")
	if cut < 0 {
		cut = strings.LastIndex(reference, ":")
	}
	if cut <= 0 || cut == len(reference)-1 {
		return artifact{}, "", fmt.Errorf("%q: invalid reference: missing tag or digest", reference)
	}
	path, wanted := reference[:cut], reference[cut+1:]
	repository, err := registry.NewOCIRepository(path, registry.RepositoryOptions{})
	return artifact{repository: repository, name: path}, wanted, err
}
