//! Hubward: an MQTT broker that mirrors devices in Azure IoT Hub and republishes every signal there
