//! A local IoT Hub: the service side of Azure IoT Hub on loopback
