"""Files of the formats a practice really holds, each the same bytes for the same arguments: PDF, DICOM, JPEG and texts."""

from __future__ import annotations

import csv
import importlib
import io
import json
import random
import textwrap
import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from connectors.errors import UnsupportedError

PATIENT_SPACE = uuid.UUID("5e1d5ca5-0000-4000-8000-000000002026")


def need(module: str) -> Any:
    """The module of an optional package. UnsupportedError says how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UnsupportedError(
            "the demo needs extra packages: pip install 'portability-toolkit[demo]'", cause=str(error)
        ) from error


def pdf(title: str, paragraphs: Iterable[str], written: datetime) -> bytes:
    """A letter on A4. Latin-1 text only: the built-in fonts hold no more."""
    document = need("fpdf").FPDF(format="A4")
    document.set_creation_date(written)
    document.set_title(title)
    document.set_lang("fr-FR")
    document.add_page()
    document.set_font("Helvetica", style="B", size=14)
    document.cell(0, 10, title, new_x="LMARGIN", new_y="NEXT")
    document.set_font("Helvetica", size=11)
    for paragraph in paragraphs:
        document.ln(3)
        # Wrapped here: fpdf2's own line breaking takes most of the time that the whole practice needs.
        for line in textwrap.wrap(paragraph, 85):
            document.cell(0, 6, line, new_x="LMARGIN", new_y="NEXT")
    return bytes(document.output())


def uid(*parts: object) -> str:
    """A DICOM UID under 2.25 (derived from a UUID, so that it belongs to nobody's root)."""
    return f"2.25.{uuid.uuid5(PATIENT_SPACE, '/'.join(map(str, parts))).int}"


def dicom(
    *, patient: str, number: int, study: str, instance: int, taken: datetime, side: int, frames: int, pixels: bytes
) -> bytes:
    """A Part 10 file of 16-bit grey images, `side` by `side`; `pixels` holds all the frames."""
    pydicom = need("pydicom")
    multiframe = frames > 1
    meta = pydicom.dataset.FileMetaDataset()
    # CT Image Storage; Multi-frame Grayscale Word Secondary Capture for a volume in one file.
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7.3" if multiframe else "1.2.840.10008.5.1.4.1.1.2"
    meta.MediaStorageSOPInstanceUID = uid(number, study, instance)
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.ImplementationClassUID = uid("portability", "demo")
    image = pydicom.Dataset()
    image.file_meta = meta
    image.SpecificCharacterSet = "ISO_IR 192"
    image.SOPClassUID = meta.MediaStorageSOPClassUID
    image.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    image.StudyInstanceUID = uid(number, study)
    image.SeriesInstanceUID = uid(number, study, "series")
    image.StudyID, image.SeriesNumber, image.InstanceNumber = study[:16], 1, instance
    image.PatientName = patient.replace(" ", "^")
    image.PatientID = f"{number:04d}"
    image.Modality = "OT" if multiframe else "CT"
    image.StudyDate, image.StudyTime = taken.strftime("%Y%m%d"), taken.strftime("%H%M%S")
    image.Rows = image.Columns = side
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 0
    if multiframe:
        image.NumberOfFrames = frames
    image.add_new("PixelData", "OW", pixels)
    buffer = io.BytesIO()
    image.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def jpeg(dice: random.Random, width: int = 800, height: int = 600) -> bytes:
    """A photo of coloured clouds."""
    pillow = need("PIL.Image")
    small = pillow.frombytes("RGB", (16, 12), dice.randbytes(16 * 12 * 3))
    buffer = io.BytesIO()
    small.resize((width, height), pillow.Resampling.BICUBIC).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def laboratory(patient: str, number: int, dice: random.Random, drawn: datetime) -> bytes:
    """An HL7 v2 result as laboratories of the field still send it: ISO-8859-1, carriage returns."""
    stamp = drawn.strftime("%Y%m%d%H%M%S")
    lines = [
        rf"MSH|^~\&|LABO-EPREUVE|LABO|CABINET|CABINET|{stamp}||ORU^R01|{number:08d}|T|2.5|||||FRA|8859/1",
        f"PID|1||{number:04d}^^^CABINET||{patient.replace(' ', '^')}",
        f"OBR|1|||NFS^Numération formule sanguine|||{stamp}",
    ]
    analyses = [
        ("HB", "Hémoglobine", "g/dL", 15.0),
        ("GLY", "Glycémie à jeun", "g/L", 1.0),
        ("TSH", "TSH", "mUI/L", 2.0),
    ]
    for index, (code, name, unit, middle) in enumerate(analyses, 1):
        lines.append(f"OBX|{index}|NM|{code}^{name}||{middle * dice.uniform(0.8, 1.2):.2f}|{unit}|||||F")
    return ("\r".join(lines) + "\r").encode("iso-8859-1")


def agenda_csv(patients: Sequence[str], dice: random.Random, start: datetime) -> bytes:
    """The export of an agenda as a French spreadsheet wants it: semicolons, CRLF, Windows-1252."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=";")
    writer.writerow(["Date", "Heure", "Durée", "Dossier", "Patient", "Motif", "Prix €"])
    for index in range(len(patients) * 6):
        at = start + timedelta(days=index // 8, minutes=30 * (index % 8))
        number = dice.randrange(len(patients)) + 1
        reason = dice.choice(["Contrôle", "Première visite", "Détartrage", 'Urgence ; "douleur"'])
        writer.writerow(
            [
                f"{at:%d/%m/%Y}",
                f"{at:%H:%M}",
                30,
                f"{number:04d}",
                patients[number - 1],
                reason,
                f"{dice.randrange(23, 90)},00",
            ]
        )
    return text.getvalue().encode("cp1252")


def dump_sql(patients: Sequence[str], dice: random.Random) -> bytes:
    """A plain dump of a database in the manner of pg_dump, UTF-8."""
    lines = [
        "-- Dump of a synthetic practice",
        "SET client_encoding = 'UTF8';",
        "CREATE TABLE patient (id int, nom text);",
    ]
    lines += [
        "COPY patient (id, nom) FROM stdin;",
        *(f"{index}\t{name}" for index, name in enumerate(patients, 1)),
        "\\.",
    ]
    lines += ["CREATE TABLE acte (id int, patient_id int, code text, note text);"]
    lines += ["COPY acte (id, patient_id, code, note) FROM stdin;"]
    for index in range(1, len(patients) * 60 + 1):
        code = dice.choice(["HBMD042", "YYYY011", "HBJD001"])
        note = dice.choice(["RAS", "à revoir", "l'état est stable", "très bien"])
        lines.append(f"{index}\t{dice.randrange(len(patients)) + 1}\t{code}\t{note}")
    return "\n".join([*lines, "\\.", "-- Dump complete", ""]).encode()


def calendar_ics(start: datetime, count: int = 20) -> bytes:
    """An iCalendar file (RFC 5545)."""
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//portability//demo//FR"]
    for index in range(count):
        at = (start + timedelta(days=index)).astimezone(UTC)
        lines += ["BEGIN:VEVENT", f"UID:{uid('event', index)}", f"DTSTAMP:{start:%Y%m%dT%H%M%SZ}"]
        lines += [f"DTSTART:{at:%Y%m%dT%H%M%SZ}", f"SUMMARY:Réunion d'équipe n° {index + 1}", "END:VEVENT"]
    return ("\r\n".join([*lines, "END:VCALENDAR"]) + "\r\n").encode()


def settings_json() -> bytes:
    return json.dumps({"cabinet": "Cabinet d'épreuve", "langue": "fr", "fauteuils": 2}, ensure_ascii=False).encode()
