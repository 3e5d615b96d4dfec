package rpc

import (
	"errors"
	"fmt"

	"buf.build/go/protovalidate"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"sallyport.dev/sallyport/services/fault"
)

// newValidator compiles the rules of every message that the services receive, so that a wrong rule
// shows at the start and not at a call.
func newValidator(services map[string]grpc.ServiceInfo) (protovalidate.Validator, error) {
	var inputs []protoreflect.MessageDescriptor
	for name := range services {
		d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(name))
		if err != nil {
			return nil, fmt.Errorf("rpc: service %s: %w", name, err)
		}
		service, ok := d.(protoreflect.ServiceDescriptor)
		if !ok {
			return nil, fmt.Errorf("rpc: %s is not a service", name)
		}
		for i := range service.Methods().Len() {
			inputs = append(inputs, service.Methods().Get(i).Input())
		}
	}
	v, err := protovalidate.New(protovalidate.WithMessageDescriptors(inputs...))
	if err != nil {
		return nil, fmt.Errorf("rpc: rules of the API: %w", err)
	}
	return v, nil
}

// validate returns a fault that names each field that breaks a rule of the API.
func (s *Server) validate(message any) error {
	m, ok := message.(proto.Message)
	if !ok {
		return fmt.Errorf("rpc: %T is not a message", message)
	}
	err := s.validator.Validate(m)
	if err == nil {
		return nil
	}
	invalid, ok := errors.AsType[*protovalidate.ValidationError](err)
	if !ok {
		return fmt.Errorf("rpc: validate %s: %w", m.ProtoReflect().Descriptor().FullName(), err)
	}
	return faultOf(invalid)
}

func faultOf(invalid *protovalidate.ValidationError) error {
	f := fault.New(fault.InvalidArgument, "the request is not valid").WithReason("INVALID_FIELD")
	for i, v := range invalid.Violations {
		if i == maxViolations {
			break
		}
		description := v.Proto.GetMessage()
		if description == "" {
			description = "breaks the rule " + v.Proto.GetRuleId()
		}
		f = f.WithField(protovalidate.FieldPathString(v.Proto.GetField()), description)
	}
	return f
}
