//! Performatives for property tests.

use proptest::option::of;
use proptest::prelude::*;

use super::*;
use crate::types::strategies::{binary, fields, symbol, symbols, text, value};

fn error() -> impl Strategy<Value = Option<Box<Error>>> {
    of((symbol(), of(text()), fields())
        .prop_map(|(condition, description, info)| Box::new(Error { condition, description, info })))
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Sender), Just(Role::Receiver)]
}

fn snd_settle_mode() -> impl Strategy<Value = SenderSettleMode> {
    prop_oneof![Just(SenderSettleMode::Unsettled), Just(SenderSettleMode::Settled), Just(SenderSettleMode::Mixed)]
}

fn rcv_settle_mode() -> impl Strategy<Value = ReceiverSettleMode> {
    prop_oneof![Just(ReceiverSettleMode::First), Just(ReceiverSettleMode::Second)]
}

fn state() -> impl Strategy<Value = DeliveryState> {
    prop_oneof![
        Just(DeliveryState::Outcome(Outcome::Accepted)),
        Just(DeliveryState::Outcome(Outcome::Released)),
        error().prop_map(|error| DeliveryState::Outcome(Outcome::Rejected(error))),
        (any::<bool>(), any::<bool>(), fields()).prop_map(|(delivery_failed, undeliverable_here, annotations)| {
            let modified = Modified { delivery_failed, undeliverable_here, message_annotations: annotations };
            DeliveryState::Outcome(Outcome::Modified(Box::new(modified)))
        }),
        (any::<u32>(), any::<u64>())
            .prop_map(|(section_number, section_offset)| DeliveryState::Received { section_number, section_offset }),
    ]
}

fn source() -> impl Strategy<Value = Source> {
    let lifetime = (of(any::<u32>()), of(symbol()), of(any::<u32>()), of(any::<bool>()), fields());
    (of(text()), lifetime, of(symbol()), fields(), value(), symbols(), symbols()).prop_map(
        |(address, lifetime, distribution_mode, filter, default_outcome, outcomes, capabilities)| {
            let (durable, expiry_policy, timeout, dynamic, dynamic_node_properties) = lifetime;
            Source {
                address,
                durable,
                expiry_policy,
                timeout,
                dynamic,
                dynamic_node_properties,
                distribution_mode,
                filter,
                default_outcome,
                outcomes,
                capabilities,
            }
        },
    )
}

fn target() -> impl Strategy<Value = Target> {
    (of(text()), of(any::<u32>()), of(symbol()), of(any::<u32>()), of(any::<bool>()), fields(), symbols()).prop_map(
        |(address, durable, expiry_policy, timeout, dynamic, dynamic_node_properties, capabilities)| Target {
            address,
            durable,
            expiry_policy,
            timeout,
            dynamic,
            dynamic_node_properties,
            capabilities,
        },
    )
}

fn open() -> impl Strategy<Value = Open> {
    let numbers = (any::<u32>(), any::<u16>(), of(any::<u32>()));
    (text(), of(text()), numbers, symbols(), symbols(), symbols(), symbols(), fields()).prop_map(
        |(container_id, hostname, numbers, outgoing_locales, incoming_locales, offered, desired, properties)| Open {
            container_id,
            hostname,
            max_frame_size: numbers.0,
            channel_max: numbers.1,
            idle_time_out: numbers.2,
            outgoing_locales,
            incoming_locales,
            offered_capabilities: offered,
            desired_capabilities: desired,
            properties,
        },
    )
}

fn begin() -> impl Strategy<Value = Begin> {
    let numbers = (of(any::<u16>()), any::<u32>(), any::<u32>(), any::<u32>(), any::<u32>());
    (numbers, symbols(), symbols(), fields()).prop_map(|(numbers, offered, desired, properties)| Begin {
        remote_channel: numbers.0,
        next_outgoing_id: numbers.1,
        incoming_window: numbers.2,
        outgoing_window: numbers.3,
        handle_max: numbers.4,
        offered_capabilities: offered,
        desired_capabilities: desired,
        properties,
    })
}

fn attach() -> impl Strategy<Value = Attach> {
    let modes = (role(), snd_settle_mode(), rcv_settle_mode());
    let sizes = (any::<u32>(), of(any::<u32>()), of(any::<u64>()));
    (text(), modes, sizes, of(source()), of(target()), symbols(), symbols(), fields()).prop_map(
        |(name, modes, sizes, source, target, offered, desired, properties)| Attach {
            name,
            handle: sizes.0,
            role: modes.0,
            snd_settle_mode: modes.1,
            rcv_settle_mode: modes.2,
            source,
            target,
            initial_delivery_count: sizes.1,
            max_message_size: sizes.2,
            offered_capabilities: offered,
            desired_capabilities: desired,
            properties,
        },
    )
}

fn flow() -> impl Strategy<Value = Flow> {
    let session = (of(any::<u32>()), any::<u32>(), any::<u32>(), any::<u32>());
    let link = (of(any::<u32>()), of(any::<u32>()), of(any::<u32>()), of(any::<u32>()));
    (session, link, any::<bool>(), any::<bool>(), fields()).prop_map(|(session, link, drain, echo, properties)| Flow {
        next_incoming_id: session.0,
        incoming_window: session.1,
        next_outgoing_id: session.2,
        outgoing_window: session.3,
        handle: link.0,
        delivery_count: link.1,
        link_credit: link.2,
        available: link.3,
        drain,
        echo,
        properties,
    })
}

fn transfer() -> impl Strategy<Value = Transfer> {
    let numbers = (any::<u32>(), of(any::<u32>()), of(any::<u32>()));
    let flags = (of(any::<bool>()), any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    (numbers, of(binary()), flags, of(rcv_settle_mode()), of(state())).prop_map(
        |(numbers, delivery_tag, flags, rcv_settle_mode, state)| Transfer {
            handle: numbers.0,
            delivery_id: numbers.1,
            delivery_tag,
            message_format: numbers.2,
            settled: flags.0,
            more: flags.1,
            rcv_settle_mode,
            state,
            resume: flags.2,
            aborted: flags.3,
            batchable: flags.4,
        },
    )
}

fn disposition() -> impl Strategy<Value = Disposition> {
    (role(), any::<u32>(), of(any::<u32>()), any::<bool>(), of(state()), any::<bool>()).prop_map(
        |(role, first, last, settled, state, batchable)| Disposition { role, first, last, settled, state, batchable },
    )
}

/// Any of the nine.
pub(crate) fn performative() -> impl Strategy<Value = Performative> {
    prop_oneof![
        open().prop_map(|open| Performative::Open(Box::new(open))),
        begin().prop_map(|begin| Performative::Begin(Box::new(begin))),
        attach().prop_map(|attach| Performative::Attach(Box::new(attach))),
        flow().prop_map(Performative::Flow),
        transfer().prop_map(Performative::Transfer),
        disposition().prop_map(Performative::Disposition),
        (any::<u32>(), any::<bool>(), error()).prop_map(|(handle, closed, error)| Performative::Detach(Detach {
            handle,
            closed,
            error
        })),
        error().prop_map(|error| Performative::End(End { error })),
        error().prop_map(|error| Performative::Close(Close { error })),
    ]
}
