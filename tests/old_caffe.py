"""A caffe_pb2 of a Caffe that lacks fields, as older ones do."""
from __future__ import division, print_function


def without_fields(monkeypatch, fields):
    """Make caffe_pb2's messages those of a caffe.proto without some fields: pairs of a message and a field."""
    from caffe.proto import caffe_pb2
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    proto = descriptor_pb2.FileDescriptorProto()
    caffe_pb2.DESCRIPTOR.CopyToProto(proto)
    for message in proto.message_type:
        for field in list(message.field):
            if (message.name, field.name) in fields:
                message.field.remove(field)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(proto)
    make = getattr(message_factory, "GetMessageClass", None) or message_factory.MessageFactory(pool).GetPrototype
    for message in proto.message_type:
        monkeypatch.setattr(caffe_pb2, message.name, make(pool.FindMessageTypeByName("caffe." + message.name)))
