package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// The service sends back what it gets. It has no generated code, because its messages come with
// protobuf.

const echoMethod = "/warmpage.Echo/Echo"

var (
	echoStream = grpc.StreamDesc{StreamName: "Echo", Handler: echo, ServerStreams: true, ClientStreams: true}
	echoDesc   = grpc.ServiceDesc{ServiceName: "warmpage.Echo", HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{echoStream}}
)

func echo(_ any, stream grpc.ServerStream) error {
	for {
		m := new(wrapperspb.BytesValue)
		switch err := stream.RecvMsg(m); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if err := stream.SendMsg(m); err != nil {
			return err
		}
	}
}

// A connection is a server on the loopback interface and a client of it.
type connection struct {
	server *grpc.Server
	client *grpc.ClientConn
	served chan error
}

func connect() (*connection, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	client, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	c := &connection{grpc.NewServer(), client, make(chan error, 1)}
	c.server.RegisterService(&echoDesc, nil)
	go func() { c.served <- c.server.Serve(listener) }()
	return c, nil
}

// close ends the client and the server when all calls are done.
func (c *connection) close() error {
	err := c.client.Close()
	c.server.GracefulStop()
	return errors.Join(err, <-c.served)
}

// The sizes of messages: any ratio of two is as likely as any other.
const smallest, largest = 2 << 10, 512 << 10

// run sends messages on some streams at a time, each after the answer to the one before, and checks
// the answers.
func (c *connection) run(ctx context.Context, streams, messages int) error {
	errs := make([]error, streams)
	var done sync.WaitGroup
	for i := range streams {
		done.Go(func() { errs[i] = c.runStream(ctx, uint64(i), messages/streams) })
	}
	done.Wait()
	return errors.Join(errs...)
}

func (c *connection) runStream(ctx context.Context, seed uint64, messages int) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.client.NewStream(ctx, &echoStream, echoMethod)
	if err != nil {
		return err
	}
	rng := rand.New(rand.NewPCG(seed, 0))
	text := make([]byte, largest)
	for i := range text {
		text[i] = byte(rng.Uint32())
	}
	for range messages {
		n := int(smallest * math.Pow(largest/smallest, rng.Float64()))
		if err := stream.SendMsg(wrapperspb.Bytes(text[:n])); err != nil {
			return err
		}
		answer := new(wrapperspb.BytesValue)
		if err := stream.RecvMsg(answer); err != nil {
			return err
		}
		if !bytes.Equal(answer.Value, text[:n]) {
			return fmt.Errorf("a message of %d bytes came back changed", n)
		}
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	switch err := stream.RecvMsg(new(wrapperspb.BytesValue)); {
	case err == nil:
		return errors.New("an answer to no message")
	case !errors.Is(err, io.EOF):
		return err
	}
	return nil
}
