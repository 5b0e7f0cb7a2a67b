//! A client for Azure IoT Hub: connection strings, SAS tokens, identity registry, D2C
